//! The two axes of every verdict: where (layer) and what (state).

/// The layer at which something showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Layer {
    /// name resolution
    #[default]
    Dns,
    /// connection to an address
    Tcp,
    /// handshake over TCP
    Tls,
    /// handshake over UDP
    Quic,
    /// request and answer
    Http,
    /// what a whole application says of itself: a VPN, Tor, a messenger
    App,
}

impl Layer {
    /// All layers, from the wire up.
    pub const ALL: [Self; 6] = [Self::Dns, Self::Tcp, Self::Tls, Self::Quic, Self::Http, Self::App];

    /// The word used in code, tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::Http => "http",
            Self::App => "app",
        }
    }

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.as_str() == text)
    }
}

/// What a verdict says of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum State {
    /// not enough evidence to say anything; never shown like `ok`
    #[default]
    Insufficient,
    /// works as it does elsewhere
    Ok,
    /// fails here and elsewhere
    Down,
    /// works, but held down in speed
    Throttled,
    /// fails or is altered here and not elsewhere
    Blocked,
}

impl State {
    /// All states, from the least to the most alarming: the order in which a measurement's verdicts
    /// are summed up.
    pub const ALL: [Self; 5] = [Self::Insufficient, Self::Ok, Self::Down, Self::Throttled, Self::Blocked];

    /// The word used in code, tables and pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insufficient => "insufficient",
            Self::Ok => "ok",
            Self::Down => "down",
            Self::Throttled => "throttled",
            Self::Blocked => "blocked",
        }
    }

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The state of most measurements that could be judged; ties go to the less alarming one, and none at
    /// all is `insufficient`.
    pub fn of_most(ok: u64, down: u64, throttled: u64, blocked: u64) -> Self {
        let mut best = (Self::Insufficient, 0);
        for (state, count) in
            [(Self::Ok, ok), (Self::Down, down), (Self::Throttled, throttled), (Self::Blocked, blocked)]
        {
            if count > best.1 {
                best = (state, count);
            }
        }
        best.0
    }

    /// Whether the state accuses somebody.
    pub const fn is_interference(self) -> bool {
        matches!(self, Self::Throttled | Self::Blocked)
    }
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for layer in Layer::ALL {
            assert_eq!(Layer::parse(layer.as_str()), Some(layer));
        }
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("fine"), None);
        assert!(State::Blocked > State::Down);
    }
}
