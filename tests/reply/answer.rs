//! What a caller gets of an answer: text, events, message, report.

use super::*;

#[tokio::test(start_paused = true)]
async fn text_is_the_visible_text_alone() {
    for wire in WIRES {
        let memory = Memory::new(wire.model(many_parts()));
        let client = Client::builder()
            .step(wire.upstream("one", "http://one.test"))
            .transport(memory)
            .build()
            .unwrap();
        let mut text = client.stream(wire.request()).text();
        let mut said = String::new();
        while let Some(piece) = text.next().await {
            said.push_str(&piece.unwrap());
        }
        assert_eq!(said, "Let me look.");
        assert!(text.is_terminated() && text.next().await.is_none());
        assert_eq!(text.reply().transcript().tool_calls().count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn finish_gives_the_answer_its_report_and_the_message_for_the_history() {
    for wire in WIRES {
        let half = wire.model(many_parts()).respond(&wire.request()).body().len() / 2;
        let memory = Memory::new(Flaky::new(wire.model(many_parts()), [Fault::reset_at(half)]));
        let client = Client::builder()
            .step(wire.upstream("one", "http://one.test"))
            .transport(memory.clone())
            .policy(quick())
            .build()
            .unwrap();
        let answer = client.stream(wire.request()).finish().await.unwrap();
        assert_eq!(answer.text(), "Let me look.");
        assert_eq!(answer.report.attempts.len(), memory.requests().len());
        assert_eq!(answer.report.attempts.len(), 2);
        let message = answer.as_message();
        let city = json!({"city": "Köln"});
        match wire {
            Wire::Anthropic => {
                assert_eq!(message["role"], "assistant");
                let blocks = message["content"].as_array().unwrap();
                let call = blocks.last().unwrap();
                assert_eq!(call["type"], "tool_use");
                assert_eq!(call["input"], city);
                let text = |block: &&serde_json::Value| block["type"] == "text";
                let texts = blocks.iter().filter(text).map(|block| block["text"].as_str().unwrap());
                assert_eq!(texts.collect::<String>(), "Let me look.");
            }
            Wire::OpenAiChat => {
                assert_eq!(message["role"], "assistant");
                assert_eq!(message["content"], "Let me look.");
                let arguments = message["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
                assert_eq!(serde_json::from_str::<serde_json::Value>(arguments).unwrap(), city);
            }
            // Lists of items and of steps.
            Wire::OpenAiResponses | Wire::GeminiInteractions => {
                let call = message.as_array().unwrap().last().unwrap();
                assert_eq!(
                    (&call["type"], &call["name"]),
                    (&"function_call".into(), &"weather".into())
                );
                let arguments = call["arguments"].to_string();
                assert!(arguments.contains("Köln"), "{arguments}");
                let texts: Vec<&serde_json::Value> = message.as_array().unwrap().iter().collect();
                let texts = texts.iter().filter_map(|item| item["content"].as_array()).flatten();
                let texts = texts.map(|content| content["text"].as_str().unwrap());
                assert_eq!(texts.collect::<String>(), "Let me look.");
            }
            Wire::Gemini => {
                assert_eq!(message["role"], "model");
                let parts = message["parts"].as_array().unwrap();
                assert_eq!(parts.last().unwrap()["functionCall"]["args"], city);
                let visible = parts.iter().filter(|part| part["thought"].is_null());
                let texts = visible.filter_map(|part| part["text"].as_str());
                assert_eq!(texts.collect::<String>(), "Let me look.");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_transcript_is_what_was_delivered_at_every_item() {
    let breaking = |script: Script, end: End| {
        script.answer(move |request| {
            let exchange = model().respond(&request.json());
            let body = String::from_utf8(exchange.body().to_vec()).unwrap();
            // In the third text delta, so that each attempt brings something.
            let at = body.match_indices("text_delta").nth(2).unwrap().0;
            exchange.cut_at(at).ends(end.clone())
        })
    };
    let ends = [End::Reset, End::Close, End::Clean, End::Broken, End::Reset];
    let script = ends.into_iter().fold(Script::new(), breaking);
    let memory = Memory::new(script.forever(|request| model().respond(&request.json())));
    let mut reply = ask(&client(&memory));
    let (mut said, mut cuts) = (String::new(), 0);
    while let Some(item) = reply.next().await {
        match item.unwrap() {
            Event::Delta(Delta::Append { text, .. }) => said.push_str(&text),
            Event::Interrupted(_) => cuts += 1,
            _ => {}
        }
        assert_eq!(reply.transcript().text(), said);
    }
    assert_eq!((said.as_str(), cuts), (TEXT, 5));
}
