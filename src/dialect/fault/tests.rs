//! The error taxonomy, a line each.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::super::FaultClass::{
    self, Auth, Billing, ContextLength, Invalid, NoError, Overloaded, Policy, PrefillRefused,
    RateLimited, Transient, UnknownModel, Unrecognised,
};
use super::{of_frame, of_response};

fn class(status: u16, body: &str) -> FaultClass {
    let status = StatusCode::from_u16(status).expect("a status");
    of_response(status, &HeaderMap::new(), body.as_bytes()).class
}

#[test]
fn statuses_alone() {
    for (status, expected) in [
        (400, Invalid),
        (401, Auth),
        (402, Billing),
        (403, Auth),
        (404, Invalid),
        (405, Invalid),
        (408, Transient),
        (409, Transient),
        (413, Invalid),
        (422, Invalid),
        (424, Transient),
        (425, Transient),
        (429, RateLimited),
        (498, Overloaded),
        (500, Transient),
        (502, Transient),
        (503, Overloaded),
        (504, Transient),
        (520, Transient),
        (529, Overloaded),
        (302, Unrecognised),
        (200, NoError),
    ] {
        for body in
            ["", "<html><body>model overloaded quota</body></html>", "{}", "[]", "\"\"", "{"]
        {
            assert_eq!(class(status, body), expected, "{status} {body:?}");
        }
    }
}

#[test]
fn types_of_anthropic() {
    for (status, kind, expected) in [
        (400, "invalid_request_error", Invalid),
        (401, "authentication_error", Auth),
        (402, "billing_error", Billing),
        (403, "permission_error", Auth),
        (404, "not_found_error", Invalid),
        (409, "conflict_error", Transient),
        (413, "request_too_large", Invalid),
        (429, "rate_limit_error", RateLimited),
        (500, "api_error", Transient),
        (504, "timeout_error", Transient),
        (529, "overloaded_error", Overloaded),
    ] {
        let error = format!(r#"{{"type":"{kind}","message":"x"}}"#);
        let body = format!(r#"{{"type":"error","error":{error},"request_id":"r"}}"#);
        assert_eq!(class(status, &body), expected, "{kind}");
        // The same in a 200, and inside a stream.
        assert_eq!(class(200, &body), expected, "{kind}");
        assert_eq!(of_frame(&error).class, expected, "{kind}");
        assert_eq!(of_frame(&error).code.as_deref(), Some(kind));
    }
}

#[test]
fn bodies() {
    for (status, body, expected) in [
        (
            400,
            r#"{"error":{"code":"context_length_exceeded","type":"invalid_request_error"}}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 1 + 2 > 3"}}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 8 tokens.","type":"BadRequestError","code":400}"#,
            ContextLength,
        ),
        (
            500,
            r#"{"error":{"type":"server_error","message":"the prompt exceeds the available context size"}}"#,
            ContextLength,
        ),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
            Billing,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."}}"#,
            Billing,
        ),
        (
            400,
            r#"{"error":{"code":400,"status":"FAILED_PRECONDITION","message":"Gemini API free tier is not available in your country. Please enable billing."}}"#,
            Billing,
        ),
        (
            403,
            r#"{"code":"The caller does not have permission","error":"Your team has either used all available credits or reached its monthly spending limit."}"#,
            Billing,
        ),
        (429, r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#, Billing),
        (
            429,
            r#"{"error":{"type":"rate_limit_error","message":"You have reached your monthly spend limit."}}"#,
            Billing,
        ),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details."}}"#,
            Billing,
        ),
        (
            429,
            r#"{"error":{"code":"rate_limit_exceeded","message":"Limit 3 per min. Please try again in 20s. Add a payment method at /account/billing."}}"#,
            RateLimited,
        ),
        (429, r#"{"error":{"message":"model does not exist here just now"}}"#, RateLimited),
        (403, r#"{"error":{"code":"unsupported_country_region_territory"}}"#, Auth),
        (404, r#"{"error":{"code":"model_not_found"}}"#, UnknownModel),
        (403, r#"{"error":{"code":"model_not_found"}}"#, UnknownModel),
        (400, r#"{"error":{"code":"model_decommissioned"}}"#, UnknownModel),
        (
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-0"}}"#,
            UnknownModel,
        ),
        (
            400,
            r#"{"error":{"code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
            Policy,
        ),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
            Policy,
        ),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","code":"content_policy_violation"}}"#,
            Policy,
        ),
        (
            403,
            r#"{"error":{"code":403,"message":"The chosen model requires moderation and your input was flagged","metadata":{"reasons":["x"]}}}"#,
            Policy,
        ),
        (400, r#"{"error":{"code":"invalid_prompt","type":"invalid_request_error"}}"#, Policy),
        (500, r#"{"error":{"message":"content policy service down"}}"#, Transient),
        (500, r#"{"error":{"type":"api_error","message":"Overloaded"}}"#, Overloaded),
        (
            503,
            r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"The model is overloaded."}}"#,
            Overloaded,
        ),
        (503, r#"{"error":{"type":"server_error"}}"#, Overloaded),
        (
            503,
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
            Overloaded,
        ),
        (
            429,
            r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","code":"3505"}"#,
            Overloaded,
        ),
        (
            429,
            r#"{"object":"error","message":"Rate limit exceeded","type":"rate_limited","code":"1300"}"#,
            RateLimited,
        ),
        (
            404,
            r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}"#,
            UnknownModel,
        ),
        (
            404,
            r#"{"error":{"message":"model 'x' not found","type":"not_found_error"}}"#,
            UnknownModel,
        ),
        (402, r#"{"error":{"message":"Insufficient Balance","type":"unknown_error"}}"#, Billing),
        (400, r#"{"detail":"Bad request"}"#, Invalid),
        (422, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, Invalid),
        (400, r#"{"error":"Invalid model: x"}"#, UnknownModel),
        (400, r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"no"}}]"#, Invalid),
        (401, r#"{"error":{"type":"invalid_request_error","code":"invalid_api_key"}}"#, Auth),
        (400, r#"{"error":{"code":"tool_use_failed","type":"invalid_request_error"}}"#, Invalid),
        (503, "upstream connect error or disconnect", Overloaded),
        (429, "event: error\ndata: {\"error\":{\"type\":\"insufficient_quota\"}}\n\n", Billing),
        (200, r#"{"error":{"code":502,"message":"x"}}"#, Transient),
        (200, r#"{"error":{"code":"insufficient_quota"}}"#, Billing),
        (
            413,
            r#"{"error":{"message":"Request too large","type":"tokens","code":"rate_limit_exceeded"}}"#,
            ContextLength,
        ),
        (200, r#"{"id":"x","choices":[{"message":{"content":"overloaded"}}]}"#, NoError),
    ] {
        assert_eq!(class(status, body), expected, "{status} {body}");
    }
}

/// What a gateway in front of Bedrock hands on, inside a stream and as a status.
#[test]
fn types_of_bedrock() {
    for (status, kind, expected) in [
        (400, "validationException", Invalid),
        (400, "ServiceQuotaExceededException", Billing),
        (403, "AccessDeniedException", Auth),
        (408, "modelTimeoutException", Transient),
        (424, "modelStreamErrorException", Transient),
        (424, "ModelErrorException", Transient),
        (429, "throttlingException", RateLimited),
        (429, "ModelNotReadyException", Overloaded),
        (500, "internalServerException", Transient),
        (503, "serviceUnavailableException", Overloaded),
    ] {
        let error = format!(r#"{{"type":"{kind}","message":"x"}}"#);
        assert_eq!(class(status, &format!(r#"{{"error":{error}}}"#)), expected, "{kind}");
        assert_eq!(of_frame(&error).class, expected, "{kind}");
    }
}

/// The codes of a failed response
/// (<https://github.com/openai/openai-python/blob/main/src/openai/types/responses/response_error.py>, read in
/// November 2026).
#[test]
fn codes_of_responses() {
    for (code, expected) in [
        ("server_error", Transient),
        ("rate_limit_exceeded", RateLimited),
        ("vector_store_timeout", Transient),
        ("invalid_prompt", Policy),
        ("bio_policy", Policy),
        ("image_content_policy_violation", Policy),
        ("data_residency_mismatch", Invalid),
        ("invalid_image", Invalid),
        ("invalid_image_format", Invalid),
        ("invalid_base64_image", Invalid),
        ("invalid_image_url", Invalid),
        ("image_too_large", Invalid),
        ("image_too_small", Invalid),
        ("image_parse_error", Invalid),
        ("invalid_image_mode", Invalid),
        ("image_file_too_large", Invalid),
        ("unsupported_image_media_type", Invalid),
        ("empty_image_file", Invalid),
        ("failed_to_download_image", Invalid),
        ("image_file_not_found", Invalid),
    ] {
        let fault = of_frame(&format!(r#"{{"code":"{code}","message":"x"}}"#));
        assert_eq!((fault.class, fault.code.as_deref()), (expected, Some(code)));
    }
}

/// Google's words, with and without the status that goes with them.
#[test]
fn words_of_google() {
    for (code, status, expected) in [
        (400, "INVALID_ARGUMENT", Invalid),
        (400, "FAILED_PRECONDITION", Invalid),
        (400, "OUT_OF_RANGE", Invalid),
        (401, "UNAUTHENTICATED", Auth),
        (403, "PERMISSION_DENIED", Auth),
        (404, "NOT_FOUND", Invalid),
        (409, "ABORTED", Transient),
        (429, "RESOURCE_EXHAUSTED", RateLimited),
        (500, "INTERNAL", Transient),
        (503, "UNAVAILABLE", Overloaded),
        (504, "DEADLINE_EXCEEDED", Transient),
    ] {
        let error = format!(r#"{{"code":{code},"message":"x","status":"{status}"}}"#);
        assert_eq!(class(code, &format!(r#"{{"error":{error}}}"#)), expected, "{status}");
        assert_eq!(of_frame(&error).class, expected, "{status}");
        assert_eq!(of_frame(&format!(r#"{{"status":"{status}"}}"#)).class, expected, "{status}");
    }
}

#[test]
fn refusals_of_a_prefill() {
    for text in [
        "This model does not support assistant message prefill. The conversation must end with a user message.",
        "The model returned the following errors: messages: final assistant content cannot end with trailing whitespace",
        "messages.1: The final block in an assistant message cannot be `thinking`.",
        "messages.1.content.0.type: Expected `thinking`, but found `text`. When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks).",
        "Requests ending with a model turn are not supported.",
        "Requests ending with a model turn are not supported unless the last part is a function response.",
        "Assistant response prefill is incompatible with enable_thinking.",
        "Cannot have 2 or more assistant messages at the end of the list.",
        "Cannot set both `continue_final_message` and `add_generation_prompt` to True.",
        "Cannot set both add_generation_prompt and continue_final_message to true.",
        "Cannot continue final message if it is not an assistant message",
    ] {
        let text = serde_json::Value::from(text);
        let error = format!(r#"{{"type":"invalid_request_error","code":400,"message":{text}}}"#);
        assert_eq!(class(400, &format!(r#"{{"error":{error}}}"#)), PrefillRefused, "{text}");
        assert_eq!(
            class(500, &format!(r#"{{"error":{error}}}"#)),
            Transient,
            "a crash teaches nothing: {text}"
        );
        assert_eq!(of_frame(&error).class, PrefillRefused, "{text}");
    }
    // OpenRouter hands on the upstream's own words.
    let nested = r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"This model does not support assistant message prefill."}}}"#;
    assert_eq!(class(400, nested), PrefillRefused);
}

#[test]
fn frames() {
    for (frame, expected, code) in [
        (r#""Overloaded""#, Overloaded, None),
        (r#""anything""#, Unrecognised, None),
        (r#"{"code":503,"status":"UNAVAILABLE","message":"x"}"#, Overloaded, Some("UNAVAILABLE")),
        (
            r#"{"code":"rate_limit_exceeded","type":"tokens"}"#,
            RateLimited,
            Some("rate_limit_exceeded"),
        ),
        (r#"{"code":null,"type":"tokens"}"#, Unrecognised, Some("tokens")),
        (
            r#"{"code":"tool_use_failed","type":"invalid_request_error","status_code":400}"#,
            Transient,
            Some("tool_use_failed"),
        ),
        (r#"{"code":401}"#, Auth, None),
        (r#"{"code":1500}"#, Unrecognised, None),
        (r#"{"code":999}"#, Unrecognised, None),
        (r#"{"type":"two words","message":"secret"}"#, Unrecognised, None),
        (r#"{"message":{"detail":[{"msg":"prompt is too long"}]}}"#, ContextLength, None),
        ("not JSON at all", Unrecognised, None),
    ] {
        let fault = of_frame(frame);
        assert_eq!((fault.class, fault.code.as_deref()), (expected, code), "{frame}");
        assert!(!format!("{fault:?}").contains("secret"), "{frame}");
    }
    let deep = format!(r#"{{"message":{}"x"{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(of_frame(&deep).class, Unrecognised);
}

#[test]
fn waits() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let (later, earlier) = ("Sun, 06 Nov 1994 08:50:07 GMT", "Sun, 06 Nov 1994 08:00:00 GMT");
    let millis = |millis| Some(Duration::from_millis(millis));
    for (headers, wait) in [
        (vec![("retry-after", "7")], millis(7_000)),
        (vec![("retry-after", "0.5")], millis(500)),
        (vec![("retry-after", "7"), ("retry-after-ms", "250")], millis(250)),
        (vec![("retry-after", "7"), ("retry-after-ms", "soon")], millis(7_000)),
        (vec![("retry-after", later), ("date", date)], millis(30_000)),
        (vec![("retry-after", earlier), ("date", date)], millis(0)),
        (vec![("retry-after", later)], None),
        (vec![("retry-after", "-1")], None),
        (vec![("retry-after", "inf")], None),
        (vec![("retry-after", "1e300")], None),
        (vec![("retry-after", "NaN")], None),
        (vec![], None),
    ] {
        let mut map = HeaderMap::new();
        for (name, value) in &headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        let fault = of_response(StatusCode::TOO_MANY_REQUESTS, &map, b"");
        assert_eq!(fault.retry_after, wait, "{headers:?}");
    }
    // A spend cap has none; a limit that has one passes, whatever it says.
    let mut wait = HeaderMap::new();
    wait.insert("retry-after", HeaderValue::from_static("7"));
    let body = br#"{"error":{"type":"rate_limit_error","message":"token quota"}}"#;
    assert_eq!(of_response(StatusCode::TOO_MANY_REQUESTS, &wait, body).class, RateLimited);
    let google = r#"{"code":429,"status":"RESOURCE_EXHAUSTED","message":"quota","details":[{"@type":"x"},{"retryDelay":"37s"}]}"#;
    let fault = of_frame(google);
    assert_eq!((fault.class, fault.retry_after), (RateLimited, millis(37_000)));
}

#[test]
fn the_providers_own_word_on_trying_again() {
    for (value, word) in [("true", Some(true)), ("false", Some(false)), ("fals(e)", None)] {
        let mut headers = HeaderMap::new();
        headers.insert("x-should-retry", HeaderValue::from_static(value));
        assert_eq!(of_response(StatusCode::BAD_REQUEST, &headers, b"").should_retry, word);
    }
}
