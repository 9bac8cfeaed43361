//! Two providers that know one answer, and everything that goes wrong with them.
//!
//! Each script is a list: what becomes of the first request, of the second, and so on. The models see
//! nothing but the requests, and continue an answer only as far as a request asks them to.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::json;
use unbroken::testing::{Behaviour, End, Exchange, Fault, Model, Request, Script, anthropic_error};

/// The one answer: prose, a list, a code fence, and characters of one to four bytes.
pub(crate) const ANSWER: &str = "\
Four friends, one café, one bill. Splitting it fairly takes three steps:

1. **Sum** what everybody ordered – the *crème brûlée* too.
2. **Divide** by the heads and round *up* to the next cent (向上取整, „aufrunden“).
3. **Share** what is left over: it buys the croissants 🥐.

In code:

```rust
/// Cents that each of `people` pays; nobody at the table pays nothing.
fn share(total: u64, people: u64) -> u64 {
    // „Aufrunden“: nobody leaves the café in debt.
    total.div_ceil(people.max(1))
}

fn main() {
    let each = share(47_10, 4);
    println!(\"each pays {} cents, {} are left\", each, each * 4 - 47_10);
}
```

So for €47.10 and four friends:

- `share(4710, 4)` is **1178**, that is €11.78 each;
- four times that is €47.12, so **2 cents** remain;
- with five friends it would have been €9.42 each, to the cent.

Большое спасибо, どうも, and mind the step on your way out. 🎉
";

/// The first step of the chain: takes prefill at first, and then no longer.
pub(crate) fn claude() -> Script {
    let model = Model::anthropic(ANSWER);
    // Somebody moves the name to a newer model while we are reading.
    let newer = model.clone().behaviour(Behaviour::RefusePrefill);
    Script::new()
        .answer(dies(&model, 25, End::Reset))
        .answer(dies(&model, 20, End::Clean))
        .answer(whole(&newer))
        .answer(overloaded(&newer))
        .answer(|_| busy())
        .answer(dies(&newer, 35, End::Stall))
        .forever(|_| Exchange::headless(End::Stall))
}

/// The second step: another vendor, another dialect, another set of troubles.
pub(crate) fn fallback() -> Script {
    let model = Model::openai_chat(ANSWER);
    let chatty = model.clone().on_note(Behaviour::Preface);
    let forgetful = model.clone().on_note(Behaviour::RestartDifferent { agree: 90 });
    Script::new()
        .answer(|_| no_assistant_turns())
        .answer(dies(&chatty, 60, End::Close))
        .answer(whole(&forgetful))
        .forever(fast(&model))
}

/// A whole answer to what the request asks for.
fn whole(model: &Model) -> impl Fn(&Request) -> Exchange + Send + Sync + 'static {
    let model = model.clone();
    move |request| model.respond(&request.json()).every(PACE)
}

/// The same, without waiting between the words.
fn fast(model: &Model) -> impl Fn(&Request) -> Exchange + Send + Sync + 'static {
    let model = model.clone();
    move |request| model.respond(&request.json()).every(PACE / 4)
}

/// The first `percent` of the body, up to the middle of a character, and then `end`.
fn dies(
    model: &Model,
    percent: usize,
    end: End,
) -> impl Fn(&Request) -> Exchange + Send + Sync + 'static {
    let whole = whole(model);
    move |request| {
        let exchange = whole(request);
        let body = exchange.body();
        let about = body.len() * percent / 100;
        let inside = |at: &usize| body.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
        let at = (about..body.len()).find(inside).unwrap_or(about);
        exchange.fault(Fault::Cut { at, end: end.clone() })
    }
}

/// An error in the middle of a stream with status 200.
fn overloaded(model: &Model) -> impl Fn(&Request) -> Exchange + Send + Sync + 'static {
    let whole = whole(model);
    move |request| {
        let exchange = whole(request);
        let at = exchange.body().len() * 40 / 100;
        exchange.fault(Fault::Insert {
            at,
            frame: anthropic_error("overloaded_error", "Overloaded"),
            end: End::Clean,
        })
    }
}

/// A rejection that asks to come back in a second.
fn busy() -> Exchange {
    let status = StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let error = json!({ "type": "overloaded_error", "message": "Overloaded" });
    Exchange::json(status, &json!({ "type": "error", "error": error }))
        .header(RETRY_AFTER, HeaderValue::from_static("1"))
}

/// A server that does not take the shape of our first continuation.
fn no_assistant_turns() -> Exchange {
    let message = "messages: this deployment takes no assistant turns";
    let error = json!({ "message": message, "type": "invalid_request_error", "code": null });
    Exchange::json(StatusCode::BAD_REQUEST, &json!({ "error": error }))
}

/// Between two events: a fast model.
const PACE: Duration = Duration::from_millis(8);
