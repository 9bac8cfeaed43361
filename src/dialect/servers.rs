//! What the servers are that one runs oneself, by one word.
//!
//! In: a name. Out: what such a server is declared to be. Sources, read in November 2026:
//!
//! | server | source |
//! |---|---|
//! | vLLM | `entrypoints/openai/chat_completion/protocol.py`; its `/v1/messages` sets neither flag, and begins a new turn |
//! | SGLang | `srt/entrypoints/openai/protocol.py`: no `add_generation_prompt`, and unknown fields are ignored |
//! | llama.cpp | `tools/server/README.md` (`--prefill-assistant`, on by default); builds of summer 2026 repeat what they were sent, later ones do not |
//! | Ollama | `server/prompt.go`, `model/renderers`: a trailing turn that is not empty is continued |

use super::{Declared, Echo, Prefill};

impl Declared {
    /// A vLLM server: continues a turn by `continue_final_message`, and does not repeat it.
    #[must_use]
    pub const fn vllm() -> Self {
        continuing(Prefill::ContinueFinalMessage, Echo::Never)
    }

    /// An SGLang server: as [`vllm`](Self::vllm).
    #[must_use]
    pub const fn sglang() -> Self {
        continuing(Prefill::ContinueFinalMessage, Echo::Never)
    }

    /// A llama.cpp server: continues a trailing turn; some builds repeat it first.
    #[must_use]
    pub const fn llama_cpp() -> Self {
        continuing(Prefill::Trailing, Echo::Unknown)
    }

    /// An Ollama server: continues a trailing turn, and does not repeat it.
    #[must_use]
    pub const fn ollama() -> Self {
        continuing(Prefill::Trailing, Echo::Never)
    }

    /// The server of this name: `vllm`, `sglang`, `llama.cpp` or `ollama`.
    #[must_use]
    pub fn server(name: &str) -> Option<Self> {
        match name {
            "vllm" => Some(Self::vllm()),
            "sglang" => Some(Self::sglang()),
            "llama.cpp" => Some(Self::llama_cpp()),
            "ollama" => Some(Self::ollama()),
            _ => None,
        }
    }
}

/// Whose trailing assistant turn is continued so.
const fn continuing(prefill: Prefill, echo: Echo) -> Declared {
    Declared {
        prefill: Some(prefill),
        echo: Some(echo),
        pings: None,
        done_is_proof: None,
        reasoning: None,
        replays: None,
    }
}
