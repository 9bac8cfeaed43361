//! The words and phrases that providers put into their errors, and what they mean.
//!
//! In: a type, code or status word, or an error text, in lower case. Out: a class. It must never
//! guess: what is not listed means nothing here. Sources, as seen in November 2026:
//! <https://platform.claude.com/docs/en/api/errors>,
//! `types/responses/response_error.py` of openai-python, the servers' own sources, and recorded error
//! bodies of some thirty providers.

use super::super::FaultClass;

/// The class of a type, code or status word in lower case.
///
/// [`FaultClass::Invalid`] is the weak answer: providers also label other errors so.
pub(super) fn of_word(word: &str) -> Option<FaultClass> {
    Some(match word {
        "content_filter"
        | "content_policy"
        | "content_policy_violation"
        | "content_moderation"
        | "responsibleaipolicyviolation"
        | "invalid_prompt"
        | "data_inspection_failed"
        | "datainspectionfailed"
        | "bio_policy"
        | "cyber_policy"
        | "cyber_policy_violation"
        | "image_content_policy_violation"
        | "moderation_blocked"
        | "prohibited_content"
        | "safety_check_failed"
        | "sensitive_words_detected"
        | "usage_policy_violation" => FaultClass::Policy,
        "context_length_exceeded"
        | "context_window_exceeded"
        | "exceed_context_size_error"
        | "model_context_window_exceeded"
        | "prompt_too_long" => FaultClass::ContextLength,
        "billing_error"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "credits_exhausted"
        | "exceeded_current_quota_error"
        | "insufficient_balance"
        | "insufficient_credits"
        | "insufficient_quota"
        | "payment_required"
        | "servicequotaexceededexception"
        | "spend_limit_exceeded" => FaultClass::Billing,
        "deploymentnotfound"
        | "invalid_model"
        | "model_decommissioned"
        | "model_deprecated"
        | "model_not_available"
        | "model_not_found"
        | "model_not_supported"
        | "unknown_model" => FaultClass::UnknownModel,
        "access_denied"
        | "accessdenied"
        | "accessdeniedexception"
        | "authentication_error"
        | "forbidden"
        | "incorrect_api_key_error"
        | "invalid_api_key"
        | "invalid_authentication_error"
        | "permission_denied"
        | "permission_denied_error"
        | "permission_error"
        | "unauthenticated"
        | "unauthorized" => FaultClass::Auth,
        "engine_overloaded"
        | "engine_overloaded_error"
        | "model_overloaded"
        | "modelnotreadyexception"
        | "overloaded"
        | "overloaded_error"
        | "server_overloaded"
        | "service_tier_capacity_exceeded"
        | "service_unavailable"
        | "service_unavailable_error"
        | "serviceunavailable"
        | "serviceunavailableexception"
        | "slow_down"
        | "unavailable"
        | "unavailable_error" => FaultClass::Overloaded,
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "rate_limit_reached_error"
        | "rate_limited"
        | "ratelimiterror"
        | "resource_exhausted"
        | "throttling"
        | "throttlingexception"
        | "too_many_requests" => FaultClass::RateLimited,
        "aborted"
        | "api_error"
        | "bad_gateway"
        | "conflict_error"
        | "deadline_exceeded"
        | "gateway_timeout"
        | "internal"
        | "internal_error"
        | "internal_server_error"
        | "internalservererror"
        | "internalserverexception"
        | "modelerrorexception"
        | "modelstreamerrorexception"
        | "modeltimeoutexception"
        | "network_error"
        | "provider_error"
        | "request_timeout"
        | "server_error"
        | "timeout"
        | "timeout_error"
        | "upstream_error"
        | "vector_store_timeout" => FaultClass::Transient,
        "bad_request"
        | "badrequesterror"
        | "data_residency_mismatch"
        | "empty_image_file"
        | "failed_precondition"
        | "failed_to_download_image"
        | "image_file_not_found"
        | "image_file_too_large"
        | "image_parse_error"
        | "image_too_large"
        | "image_too_small"
        | "invalid_argument"
        | "invalid_base64_image"
        | "invalid_image"
        | "invalid_image_format"
        | "invalid_image_mode"
        | "invalid_image_url"
        | "invalid_parameter_error"
        | "invalid_request"
        | "invalid_request_error"
        | "not_found"
        | "not_found_error"
        | "not_supported_error"
        | "out_of_range"
        | "request_too_large"
        | "unprocessable_entity"
        | "unsupported_image_media_type"
        | "validation_error"
        | "validationexception" => FaultClass::Invalid,
        _ => return None,
    })
}

/// Which of two classes, both named by one error, tells more.
pub(super) fn rank(class: FaultClass) -> u8 {
    match class {
        FaultClass::PrefillRefused | FaultClass::ReplayRefused => 0,
        FaultClass::Policy => 1,
        FaultClass::ContextLength => 2,
        FaultClass::Billing => 3,
        FaultClass::UnknownModel => 4,
        FaultClass::Auth => 5,
        FaultClass::Overloaded => 6,
        FaultClass::RateLimited => 7,
        FaultClass::Transient => 8,
        FaultClass::Invalid => 9,
        FaultClass::Unrecognised | FaultClass::NoError => 10,
    }
}

/// Whether `text` refuses a trailing assistant turn.
pub(super) fn refuses_prefill(text: &str) -> bool {
    any(
        text,
        &[
            // Anthropic 4.6 and later.
            "does not support assistant message prefill",
            "conversation must end with a user message",
            // Anthropic, any turn that we could have built wrongly for its model.
            "final assistant content cannot end with trailing whitespace",
            "the final block in an assistant message cannot be `thinking`",
            "a final `assistant` message must start with a thinking block",
            // Gemini 3.6 and later, also behind gateways.
            "requests ending with a model turn are not supported",
            // llama.cpp, older builds with thinking on, and two assistant turns at the end.
            "assistant response prefill is incompatible with enable_thinking",
            "cannot have 2 or more assistant messages at the end of the list",
            "cannot set both add_generation_prompt and continue_final_message",
            // vLLM, SGLang.
            "cannot set both `continue_final_message` and `add_generation_prompt`",
            "cannot continue final message if it is not an assistant message",
            "continue_final_message is set but the final message does not appear",
            // Mistral's tokenizers.
            "expected last role user or tool",
        ],
    )
}

/// Whether `text` says that the prompt does not fit.
pub(super) fn overflows(text: &str) -> bool {
    any(
        text,
        &[
            "prompt is too long",
            "prompt too long",
            "exceed context limit",
            "maximum context length",
            "max context length",
            "maximum prompt length",
            "exceeds the available context size",
            "exceeds the context window",
            "exceed the context window",
            "exceeds the model's context",
            "exceeds the maximum number of tokens allowed",
            "input is too long for requested model",
            "reduce the length of the messages",
            "context_length_exceeded",
        ],
    )
}

/// Whether `text` says that there is no such model.
pub(super) fn knows_no_model(text: &str) -> bool {
    text.starts_with("model: ")
        || text.starts_with("no endpoints found for ")
        || any(text, &["invalid model", "supported api model names", "unable to access model"])
        || any(text, &["model"])
            && any(
                text,
                &[
                    " not found",
                    "does not exist",
                    "not exist",
                    "is no longer accessible",
                    "is no longer available",
                    "has been deprecated",
                    "was deprecated",
                    "decommissioned",
                    "end of its life",
                ],
            )
}

/// Whether `text` says that a content policy is at work.
pub(super) fn names_policy(text: &str) -> bool {
    any(
        text,
        &[
            "content filtering policy",
            "content management policy",
            "content policy",
            "content_filter",
            "usage policies",
            "usage policy",
            "safety system",
            "flagged by",
            "input was flagged",
            "flagged as potentially",
        ],
    )
}

/// Whether `text` says that money has run out, whatever the status.
pub(super) fn names_debt(text: &str) -> bool {
    any(
        text,
        &[
            "credit balance is too low",
            // Anthropic's spend limit, also with status 400.
            "reached your specified api usage limits",
            // Google, where no billing is set up.
            "free tier is not available",
            "insufficient balance",
            "insufficient credit",
            "insufficient_quota",
            "out of credits",
            "monthly included credits",
            "spending limit",
            "spend limit",
            "spend cap",
        ],
    )
}

/// Whether the text of a rate limit rather means a quota that time does not refill.
///
/// A per-minute limit may also mention billing ("add a payment method"), but says when to come
/// back.
pub(super) fn names_quota(text: &str) -> bool {
    any(text, &["quota", "billing", "spend", "credit"])
        && !any(text, &["try again in", "retry in", "per min", "per-min", "per second"])
}

/// Whether `text` speaks of load.
pub(super) fn names_load(text: &str) -> bool {
    any(text, &["overloaded", "at capacity", "no healthy upstream", "server is busy"])
}

fn any(text: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| text.contains(phrase))
}
