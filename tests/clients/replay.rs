//! Clients that lost their own connection, and fetch the rest of an answer that the provider keeps.

use serde_json::json;
use unbroken::testing::{Deltas, End, Exchange, Model, Script, Server};

use super::Client;
use super::proxy::Proxy;
use super::runners::{drive, runners};

const TEXT: &str = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, again and again, until \
    the line is cut and cut again, and somebody asks for the rest.";

/// The event that the clients had last.
const AFTER: usize = 7;

/// What comes after event `after`, of which a connection brings three events and a half.
fn rest(events: &[String], after: usize) -> Exchange {
    let rest = &events[after + 1..];
    let exchange = Exchange::stream(rest.concat());
    match rest.get(3) {
        Some(half) => {
            let whole: usize = rest[..3].iter().map(String::len).sum();
            let end = if after % 2 == 0 { End::Reset } else { End::Close };
            exchange.cut_at(whole + half.len() / 2).ends(end)
        }
        None => exchange,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_clients_fetch_the_rest_of_a_kept_answer() {
    let runners = runners();
    let model = Model::openai_responses(TEXT).deltas(Deltas::Chars(9));
    let body = String::from_utf8(model.whole().body().to_vec()).unwrap();
    let events: Vec<String> = body.split_inclusive("\n\n").map(str::to_owned).collect();
    let had: String = events[..=AFTER].concat();
    let had: usize = had.matches("event: response.output_text.delta").count() * 9;
    let script = Script::new().forever(move |request| {
        let (_, query) = request.path().split_once('?').unwrap();
        let after = query.split('&').find_map(|pair| pair.strip_prefix("starting_after="));
        rest(&events, after.unwrap().parse().unwrap())
    });
    let server = Server::start(script).await;
    let proxy = Proxy::to(&server.uri());
    let clients = [Client::ResponsesPython, Client::ResponsesNode];
    let clients = clients.into_iter().filter(|client| runners.iter().any(|r| r.drives(*client)));
    let orders = clients.map(|client| {
        json!({
            "id": client.name(),
            "client": client.name(),
            "base_url": client.base_url(&proxy.uri()),
            "model": "any",
            "replay": {"id": "resp_1", "after": AFTER},
        })
    });
    let orders: Vec<_> = orders.collect();
    let got = drive("replay", &runners, orders.clone()).await;
    for order in &orders {
        let got = &got[order["id"].as_str().unwrap()];
        assert_eq!(got.error, None, "{order}");
        assert_eq!(got.texts, [TEXT], "of the whole answer");
        assert_eq!(got.streamed, TEXT.chars().skip(had).collect::<String>());
        assert_eq!(got.stop_reason.as_deref(), Some("completed"));
    }
    assert!(orders.is_empty() || server.requests().len() > 4 * orders.len());
}
