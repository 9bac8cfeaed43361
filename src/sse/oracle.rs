//! The standard's parser, word for word.
//!
//! In: a whole stream. Out: its events, as owned values, and whether an event was left unfinished.
//! It must never be clever: it is what the real parser is compared with, in the tests and (included
//! by its path) in the fuzz targets. So it names nothing of the crate.

/// An event and what its stream had said by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) event: String,
    pub(crate) data: String,
    pub(crate) id: String,
    pub(crate) retry: Option<u64>,
}

/// The events of `stream`, and whether it ends inside one.
pub(crate) fn parse(stream: &[u8]) -> (Vec<Owned>, bool) {
    let decoded = String::from_utf8_lossy(stream);
    let text = decoded.strip_prefix('\u{FEFF}').unwrap_or(&decoded);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    let unended = lines.pop().unwrap_or_default();

    let mut events = Vec::new();
    let (mut data, mut kind, mut id, mut retry) = (String::new(), String::new(), "", None);
    let mut inside = false;
    for line in lines {
        if line.is_empty() {
            inside = false;
            let (data, kind) = (std::mem::take(&mut data), std::mem::take(&mut kind));
            let retry = retry.take();
            let Some(data) = data.strip_suffix('\n') else {
                continue;
            };
            events.push(Owned {
                event: if kind.is_empty() { "message".into() } else { kind },
                data: data.into(),
                id: id.into(),
                retry,
            });
            continue;
        }
        if line.starts_with(':') {
            continue;
        }
        inside = true;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => kind = value.into(),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => id = value,
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                retry = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
    let torn = !unended.is_empty() && !unended.starts_with(':');
    (events, inside || torn)
}
