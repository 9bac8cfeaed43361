//! What the recorded errors are.

use unbroken::ErrorKind;
use unbroken::dialect::FaultClass;

/// What the errors inside streams are.
pub(crate) const FAULTS: [(&str, FaultClass); 9] = [
    ("genstreammultimodal-image-gif-url", FaultClass::Invalid),
    ("genstreammultimodal-image-jpg-url", FaultClass::Invalid),
    ("overloaded-event", FaultClass::Overloaded),
    // The model wrote a call that its schema does not allow: another try may do better.
    ("groq/object-streaming", FaultClass::Transient),
    ("test-tool-use-failed-error-streaming", FaultClass::Transient),
    ("genstream-tools-squareroot", FaultClass::Transient),
    ("genstream-stop", FaultClass::Invalid),
    ("stream-unknown-error-responses", FaultClass::Unrecognised),
    ("openrouter/object-streaming", FaultClass::Transient),
];

/// What the arguments of the calls that come in pieces come to, in order.
pub(crate) const PIECES: [&str; 3] = [r#"{"id":"A"}"#, r#"{"id":"B"}"#, r#"{"id":"C"}"#];

/// Bodies whose class does not follow from their status alone.
pub(crate) const CLASSES: [(&str, FaultClass); 18] = [
    ("alibaba/404-model-not-found", FaultClass::UnknownModel),
    ("anthropic/404-", FaultClass::UnknownModel),
    ("bedrock/404-", FaultClass::UnknownModel),
    ("cerebras/404-", FaultClass::UnknownModel),
    ("deepseek/400-invalid-request-error-6b11e000", FaultClass::UnknownModel),
    ("doubleword/404-", FaultClass::UnknownModel),
    ("gemini/404-", FaultClass::UnknownModel),
    ("vertex-gemini/404-", FaultClass::UnknownModel),
    ("groq/404-", FaultClass::UnknownModel),
    ("400-model-not-found", FaultClass::UnknownModel),
    ("mistral/400-invalid-model", FaultClass::UnknownModel),
    ("openai-chat/404-", FaultClass::UnknownModel),
    ("openrouter/404-error-4975b28a", FaultClass::UnknownModel),
    ("together/404-", FaultClass::UnknownModel),
    ("venice/404-", FaultClass::UnknownModel),
    ("xai/404-", FaultClass::UnknownModel),
    ("llamacpp/400-exceed-context-size", FaultClass::ContextLength),
    ("ollama/400-invalid-request-error", FaultClass::ContextLength),
];

/// The error that a reply ends with after a fault of this class.
pub(crate) fn kind_of(class: FaultClass) -> ErrorKind {
    match class {
        FaultClass::Overloaded => ErrorKind::Overloaded,
        FaultClass::RateLimited => ErrorKind::RateLimited,
        FaultClass::Billing => ErrorKind::Billing,
        FaultClass::Auth => ErrorKind::Authentication,
        FaultClass::ContextLength => ErrorKind::ContextLength,
        FaultClass::UnknownModel => ErrorKind::UnknownModel,
        FaultClass::Policy => ErrorKind::Policy,
        FaultClass::PrefillRefused | FaultClass::Invalid => ErrorKind::InvalidRequest,
        _ => ErrorKind::Upstream,
    }
}
