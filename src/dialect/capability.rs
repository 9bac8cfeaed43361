//! What is known of upstreams and models, by address and name.
//!
//! In: an address (a host, and a path where that matters) and a model. Out: [`Capabilities`]. It must never promise what nobody has
//! documented or measured: what is not known has no prefill and no pings. A server that one runs
//! oneself is declared ([`Declared`](super::Declared)).
//!
//! As of November 2026:
//!
//! | host, model | prefill | echo | source |
//! |---|---|---|---|
//! | Claude up to 4.5, wherever it is served | trailing turn | never | <https://platform.claude.com/docs/en/build-with-claude/streaming> ("error recovery"); later ones answer 400 |
//! | `api.mistral.ai` | `prefix: true` | always | `models/assistantmessage.py` of Mistral's Python client; vercel/ai #3256 for the echo |
//! | `api.moonshot.ai`, `api.moonshot.cn` | `partial: true` | unknown | release notes of vercel/ai's Moonshot provider 2.0.53; not measured |
//! | `api.deepseek.com` below `/beta` | `prefix: true` | never | <https://api-docs.deepseek.com> ("Chat Prefix Completion") |
//! | `api.deepseek.com` elsewhere | none | never | the same |
//! | `openrouter.ai`, Claude up to 4.5 | trailing turn | unknown | <https://openrouter.ai/docs> documents a trailing turn for any model; for other models it depends on who serves them |
//! | `api.openai.com`, Azure | none: 200, and the model starts over | – | measured by others |
//! | Gemini 2, 3, 3.1, `gemini-3.5-flash` | trailing turn | never | measured by others (tldw_chatbook #735, pipecat #5821, LibreChat agents #323), also while they think unasked |
//! | Gemini 3.6, `gemini-3.5-flash-lite` and all later ones | none: 400 | – | langchain-google, `chat_models.py` |
//! | any host, by the Responses API | none: it has no word for it | – | <https://platform.openai.com/docs/api-reference/responses> |
//! | anything else | none | unknown | – |
//!
//! What one runs oneself is declared: see `servers`. Groq too, of which only others say that some of its
//! models continue a trailing turn. DeepSeek would have reasoning prefilled as well
//! (`reasoning_content`); none is ever sent back, because what was cut is no part of any history, and a
//! continuation never ends in reasoning.
//!
//! Pings: `api.anthropic.com` sends `ping` events; `openrouter.ai`
//! (<https://openrouter.ai/docs/api_reference/streaming>) and `api.deepseek.com` send comments while
//! they wait.

use super::{Capabilities, Echo, Prefill};

/// What is known of a model behind a host that speaks Anthropic Messages.
pub(super) fn anthropic(address: &str, model: &str) -> Capabilities {
    let continues = continues_turns(model);
    Capabilities {
        prefill: if continues { Prefill::Trailing } else { Prefill::None },
        echo: if continues { Echo::Never } else { Echo::Unknown },
        pings: is_host(address, "anthropic.com"),
        ..Capabilities::default()
    }
}

/// What is known of a model behind a host that speaks Chat Completions.
pub(super) fn openai_chat(address: &str, model: &str) -> Capabilities {
    let (prefill, echo) = if is_host(address, "api.mistral.ai") {
        (Prefill::Prefix, Echo::Always)
    } else if is_host(address, "api.moonshot.ai") || is_host(address, "api.moonshot.cn") {
        (Prefill::Partial, Echo::Unknown)
    } else if is_host(address, "openrouter.ai") && continues_turns(model) {
        (Prefill::Trailing, Echo::Unknown)
    } else if is_host(address, "api.deepseek.com") {
        let prefill = if is_below(address, "beta") { Prefill::Prefix } else { Prefill::None };
        (prefill, Echo::Never)
    } else {
        (Prefill::None, Echo::Unknown)
    };
    Capabilities {
        prefill,
        echo,
        pings: is_host(address, "openrouter.ai") || is_host(address, "api.deepseek.com"),
        reasoning: reasons_unasked(model),
        ..Capabilities::default()
    }
}

/// What is known of a model behind a host that speaks Responses. None of them continues an assistant
/// turn (its reference has no flag for that, and OpenAI's own models start over).
pub(super) fn openai_responses(address: &str, model: &str) -> Capabilities {
    Capabilities {
        pings: is_host(address, "openrouter.ai"),
        reasoning: reasons_unasked(model),
        ..Capabilities::default()
    }
}

/// What is known of a Gemini model, wherever it is served.
pub(super) fn gemini(model: &str) -> Capabilities {
    let continues = gemini_continues(model);
    Capabilities {
        prefill: if continues { Prefill::Trailing } else { Prefill::None },
        echo: if continues { Echo::Never } else { Echo::Unknown },
        ..Capabilities::default()
    }
}

/// Whether `model` goes on with a trailing model turn. Versions are not in order: 3.5-flash does, and
/// 3.5-flash-lite does not.
fn gemini_continues(model: &str) -> bool {
    let model = model.to_ascii_lowercase();
    let name = model.rsplit('/').next().unwrap_or_default();
    let Some((version, variant)) =
        name.strip_prefix("gemini-").and_then(|name| name.split_once('-'))
    else {
        return false;
    };
    match version {
        "2.0" | "2.5" | "3" | "3.1" => true,
        "3.5" => variant.strip_prefix("flash").is_some_and(|rest| !rest.starts_with("-lite")),
        _ => false,
    }
}

/// Whether the path of `address` begins with the segment `first`.
fn is_below(address: &str, first: &str) -> bool {
    address.split('/').nth(1) == Some(first)
}

/// Whether the host of `address` is `domain` or below it; a port does not count.
fn is_host(address: &str, domain: &str) -> bool {
    let host = address.split([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether `model` is a Claude of 4.5 or before, under any of the names it is served by:
/// `claude-sonnet-4-5-20250929`, `us.anthropic.claude-opus-4-1-20250805-v1:0`,
/// `claude-haiku-4-5@20251001`, `anthropic/claude-3.5-sonnet`, `anthropic.claude-v2:1`.
fn continues_turns(model: &str) -> bool {
    let model = model.to_ascii_lowercase();
    let Some((_, name)) = model.split_once("claude-") else {
        return false;
    };
    let mut version = Vec::new();
    for token in name.split(['-', '.', '@', ':']) {
        let token = if version.is_empty() { token.trim_start_matches('v') } else { token };
        match token.parse::<u8>() {
            Ok(number) if token.len() <= 2 => version.push(number),
            _ if !version.is_empty() => break,
            _ if matches!(token, "opus" | "sonnet" | "haiku" | "instant") => {}
            // A family that did not exist at 4.5.
            _ => return false,
        }
    }
    let minor = version.get(1).copied().unwrap_or_default();
    version.first().is_some_and(|major| (*major, minor) <= LAST_TO_CONTINUE)
}

/// Whether `model` reasons unless it is told not to.
fn reasons_unasked(model: &str) -> bool {
    let model = model.to_ascii_lowercase();
    let name = model.rsplit('/').next().unwrap_or_default();
    let family = |family: &str| {
        name.strip_prefix(family)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
    };
    let any = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if any(&["non-reasoning", "non-thinking", "-chat-latest"]) {
        return false;
    }
    ["o1", "o3", "o4", "gpt-5", "gpt-oss", "magistral", "qwq", "grok-4"].into_iter().any(family)
        || any(&["reasoner", "reasoning", "thinking", "deepseek-r1"])
}

/// The last version of Claude that continues an assistant turn.
const LAST_TO_CONTINUE: (u8, u8) = (4, 5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claude_up_to_4_5_continues_turns() {
        for (model, continues) in [
            ("claude-2.1", true),
            ("claude-instant-1.2", true),
            ("anthropic.claude-v2:1", true),
            ("claude-3-haiku-20240307", true),
            ("claude-3-7-sonnet-latest", true),
            ("anthropic/claude-3.5-sonnet", true),
            ("claude-sonnet-4-20250514", true),
            ("claude-opus-4-0", true),
            ("claude-opus-4-1-20250805", true),
            ("us.anthropic.claude-opus-4-1-20250805-v1:0", true),
            ("claude-haiku-4-5@20251001", true),
            ("claude-sonnet-4-5", true),
            ("claude-opus-4-5-20251101", true),
            ("databricks-claude-sonnet-4", true),
            ("claude-sonnet-4-6", false),
            ("claude-opus-4.7", false),
            ("claude-opus-5-5", false),
            ("claude-opus-4-10", false),
            ("claude-fable-5-1", false),
            ("claude-mythos-preview", false),
            ("claude-sonnet-latest", false),
            ("gpt-4o", false),
            ("", false),
        ] {
            assert_eq!(continues_turns(model), continues, "{model}");
        }
    }

    #[test]
    fn gemini_up_to_3_5_flash_continues_turns() {
        for (model, continues) in [
            ("gemini-2.0-flash", true),
            ("models/gemini-2.5-pro", true),
            ("gemini-3-pro-preview", true),
            ("gemini-3.1-flash-lite-preview", true),
            ("gemini-3.5-flash", true),
            ("gemini-3.5-flash-001", true),
            ("gemini-3.5-flash-lite", false),
            ("gemini-3.5-pro", false),
            ("gemini-3.6-flash", false),
            ("gemini-4-flash", false),
            ("gemini-flash-latest", false),
            ("gemini-1.5-pro", false),
            ("gemma-3-27b-it", false),
            ("", false),
        ] {
            assert_eq!(gemini(model).prefill == Prefill::Trailing, continues, "{model}");
        }
    }

    #[test]
    fn hosts_are_matched_whole() {
        for (host, model, prefill, echo, pings) in [
            ("api.openai.com", "gpt-4o", Prefill::None, Echo::Unknown, false),
            ("api.mistral.ai", "mistral-large", Prefill::Prefix, Echo::Always, false),
            ("API.MISTRAL.AI:443", "mistral-large", Prefill::Prefix, Echo::Always, false),
            ("api.mistral.ai.evil.example", "m", Prefill::None, Echo::Unknown, false),
            ("notapi.mistral.ai", "m", Prefill::None, Echo::Unknown, false),
            ("api.moonshot.cn", "kimi-k2", Prefill::Partial, Echo::Unknown, false),
            ("api.deepseek.com", "deepseek-chat", Prefill::None, Echo::Never, true),
            (
                "openrouter.ai",
                "anthropic/claude-3.5-sonnet",
                Prefill::Trailing,
                Echo::Unknown,
                true,
            ),
            ("openrouter.ai", "anthropic/claude-opus-4.6", Prefill::None, Echo::Unknown, true),
            ("localhost:8000", "llama", Prefill::None, Echo::Unknown, false),
        ] {
            let known = openai_chat(host, model);
            assert_eq!((known.prefill, known.echo, known.pings), (prefill, echo, pings), "{host}");
            assert!(!known.done_is_proof, "{host}");
        }
        assert!(anthropic("api.anthropic.com", "claude-opus-5-5").pings);
        assert!(!anthropic("gateway.example", "claude-opus-5-5").pings);
    }

    #[test]
    fn models_that_reason_unasked() {
        for (model, reasons) in [
            ("o3-mini", true),
            ("gpt-5.1", true),
            ("openai/gpt-oss-120b", true),
            ("deepseek-reasoner", true),
            ("kimi-k2-thinking", true),
            ("gpt-5-chat-latest", false),
            ("gpt-4o", false),
            ("grok-4-1-fast-non-reasoning", false),
            ("olmo-3", false),
        ] {
            assert_eq!(reasons_unasked(model), reasons, "{model}");
        }
    }
}
