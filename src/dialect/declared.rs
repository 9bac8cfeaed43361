//! What an upstream is declared to be: capability by capability, or by the name of its server.
//!
//! In: the words of whoever runs it. Out: what comes over the table of what is known. Sources, read in November 2026:
//!
//! | server | source |
//! |---|---|
//! | vLLM | `entrypoints/openai/chat_completion/protocol.py`; its `/v1/messages` sets neither flag, and begins a new turn |
//! | SGLang | `srt/entrypoints/openai/protocol.py`: no `add_generation_prompt`, and unknown fields are ignored |
//! | llama.cpp | `tools/server/README.md` (`--prefill-assistant`, on by default); builds of summer 2026 repeat what they were sent, later ones do not |
//! | Ollama | `server/prompt.go`, `model/renderers`: a trailing turn that is not empty is continued |

use super::{Capabilities, Echo, Prefill};

/// What an upstream is declared to be; overrides the table field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Declared {
    /// See [`Capabilities::prefill`].
    pub prefill: Option<Prefill>,
    /// See [`Capabilities::echo`].
    pub echo: Option<Echo>,
    /// See [`Capabilities::pings`].
    pub pings: Option<bool>,
    /// See [`Capabilities::done_is_proof`].
    pub done_is_proof: Option<bool>,
    /// See [`Capabilities::reasoning`].
    pub reasoning: Option<bool>,
    /// See [`Capabilities::replays`].
    pub replays: Option<bool>,
}

impl Declared {
    /// Nothing declared: the table alone counts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares how a trailing assistant turn is continued.
    #[must_use]
    pub const fn prefill(mut self, prefill: Prefill) -> Self {
        self.prefill = Some(prefill);
        self
    }

    /// Declares whether the text sent as prefill comes back.
    #[must_use]
    pub const fn echo(mut self, echo: Echo) -> Self {
        self.echo = Some(echo);
        self
    }

    /// Declares whether a silent stream carries pings or comments.
    #[must_use]
    pub const fn pings(mut self, pings: bool) -> Self {
        self.pings = Some(pings);
        self
    }

    /// Declares whether `[DONE]` without a finish reason ends an answer.
    #[must_use]
    pub const fn done_is_proof(mut self, proof: bool) -> Self {
        self.done_is_proof = Some(proof);
        self
    }

    /// Declares whether the model reasons unasked.
    #[must_use]
    pub const fn reasoning(mut self, reasoning: bool) -> Self {
        self.reasoning = Some(reasoning);
        self
    }

    /// Declares whether the server keeps generations and replays them. One that does goes on when its
    /// client is gone, so it is told to stop when a reply ends without the end of its answer.
    #[must_use]
    pub const fn replays(mut self, replays: bool) -> Self {
        self.replays = Some(replays);
        self
    }

    /// `known` with every declared field in its place.
    #[must_use]
    pub fn over(&self, known: Capabilities) -> Capabilities {
        Capabilities {
            prefill: self.prefill.unwrap_or(known.prefill),
            echo: self.echo.unwrap_or(known.echo),
            pings: self.pings.unwrap_or(known.pings),
            done_is_proof: self.done_is_proof.unwrap_or(known.done_is_proof),
            reasoning: self.reasoning.unwrap_or(known.reasoning),
            replays: self.replays.unwrap_or(known.replays),
        }
    }

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
