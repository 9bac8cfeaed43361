//! Requests that are not streamed.

use bytes::Bytes;
use unbroken::Call;
use unbroken::client::{Body, TransportError};
use unbroken::policy::HEAD;

use super::*;

const _: () = {
    is_send::<Call>();
    is_unpin::<Call>();
    is_static::<Call>();
    is_send::<Body>();
    is_static::<Body>();
};

async fn read(mut body: Body) -> Result<Bytes, TransportError> {
    let mut all = Vec::new();
    while let Some(bytes) = body.next().await {
        all.extend_from_slice(&bytes?);
    }
    Ok(all.into())
}

fn answer() -> Exchange {
    let body = json!({"type": "message", "content": [{"type": "text", "text": TEXT}]});
    Exchange::json(StatusCode::OK, &body).header("x-id".parse().unwrap(), 7_u16)
}

fn request() -> serde_json::Value {
    let mut request = Wire::Anthropic.request();
    request["stream"] = json!(false);
    request
}

#[tokio::test(start_paused = true)]
async fn it_is_tried_again_and_its_response_handed_on_as_it_came() {
    let busy = Exchange::reply(StatusCode::from_u16(529).unwrap()).header(RETRY_AFTER, 7_u16);
    let memory = Memory::new(Script::new().exchange(busy).exchange(answer()));
    let client = client(&memory);
    let begun = Instant::now();
    let call = client.call(request());
    assert!(memory.requests().is_empty(), "nothing is sent before it is polled");
    let response = call.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
    assert_eq!(
        (response.status(), &response.headers()["x-id"]),
        (StatusCode::OK, &"7".parse().unwrap())
    );
    assert_eq!(read(response.into_body()).await.unwrap(), answer().body());
    for sent in memory.requests() {
        assert_eq!(
            (sent.json(), &sent.headers()["accept"]),
            (request(), &"application/json".parse().unwrap())
        );
    }
    assert_eq!(client.breakers()[0].state, unbroken::policy::BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn it_fails_over_as_the_model_of_the_next_step() {
    let memory = Memory::new(Script::new().forever(|request| match request.path() {
        "/v1/messages" => Exchange::headless(End::Stall),
        _ => answer(),
    }));
    let second = Wire::Anthropic.upstream("two", "http://two.test/two").model("other");
    let client = builder(&memory).step(second).build().unwrap();
    let begun = Instant::now();
    assert_eq!(client.call(request()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(begun.elapsed(), HEAD);
    assert_eq!(memory.requests()[1].json()["model"], "other");
}

#[tokio::test(start_paused = true)]
async fn its_rejection_comes_with_the_error() {
    let refused =
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}});
    let memory =
        Memory::new(Script::new().exchange(Exchange::json(StatusCode::BAD_REQUEST, &refused)));
    let mut call = client(&memory).call(request());
    let error = (&mut call).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let rejection = error.rejection().unwrap();
    assert_eq!(rejection.status, StatusCode::BAD_REQUEST);
    assert_eq!(rejection.body, refused.to_string());
    assert_eq!(call.report().attempts.len(), 1);
    assert!(call.await.unwrap_err().is_canceled(), "polled after its end");
}

#[tokio::test(start_paused = true)]
async fn it_shares_breakers_and_budget_with_streams() {
    let memory = Memory::new(Script::new().forever(|_| Exchange::reply(StatusCode::BAD_GATEWAY)));
    let client = builder(&memory).policy(quick().max_attempts(1)).build().unwrap();
    for _ in 0..5 {
        assert_eq!(client.call(request()).await.unwrap_err().kind(), ErrorKind::Upstream);
    }
    assert_eq!(hear(ask(&client)).await.error().kind(), ErrorKind::Denied);
    assert!(client.call(request()).await.unwrap_err().is_denied());
    let broke = builder(&memory).budget(Budget::new(0, 0, 0.0)).build().unwrap();
    let before = memory.requests().len();
    assert_eq!(broke.call(request()).await.unwrap_err().kind(), ErrorKind::Upstream);
    assert_eq!(memory.requests().len(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_says_so() {
    let half = answer().body().len() / 2;
    let memory = Memory::new(Script::new().exchange(answer().cut_at(half).reset()));
    let body = client(&memory).call(request()).await.unwrap().into_body();
    assert!(read(body).await.is_err());
    assert_eq!(memory.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_it_closes_its_connection_and_its_body_is_read_from_the_socket() {
    let slow = answer().pieces_of(10);
    let server = Server::start(
        Script::new()
            .exchange(Exchange::headless(End::Stall))
            .exchange(answer().cut_at(20).stall())
            .exchange(slow),
    )
    .await;
    let upstream = Wire::Anthropic.upstream("one", &server.uri());
    let client = Client::builder().step(upstream).build().unwrap();
    tokio::select! {
        response = client.call(request()) => panic!("{response:?}"),
        () = server.log().arrived(1) => {}
    }
    closed(&server, 0).await;
    let mut body = client.call(request()).await.unwrap().into_body();
    assert!(!body.next().await.unwrap().unwrap().is_empty());
    drop(body);
    closed(&server, 1).await;
    let response = client.call(request()).await.unwrap();
    assert_eq!(read(response.into_body()).await.unwrap(), answer().body());
}
