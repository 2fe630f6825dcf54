//! The words of arms: which role a tried thing has in a comparison, and how it can end.
//!
//! The sign `arm.<role>.<ending>` holds when **at least one** arm of the role ended so. That all of them did
//! is said with `unless`: `when = ["arm.target.timeout"]`, `unless = ["arm.target.ok"]`. An arm that was not
//! carried out, or that failed on the probe's own machine, gives no sign at all.

macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $( $variant:ident = $word:literal, $doc:literal; )+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $( #[doc = $doc] $variant, )+ }

        impl $name {
            /// Every one, in order.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its word in signs and tables.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }

            /// What it is.
            pub const fn doc(self) -> &'static str {
                match self { $( Self::$variant => $doc, )+ }
            }

            /// Reads the word back.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )+ _ => None }
            }
        }
    };
}

/// Calls a macro with the roles and the endings, so that both lists are written once.
macro_rules! with_words {
    ($make:ident) => {
        $make! {
            [
                Target = "target", "the thing under suspicion";
                Repeat = "repeat", "the same again, later or on a fresh port";
                NeutralName = "neutral_name", "the same address with a name that nobody filters";
                OtherAddress = "other_address", "the suspected name at another address";
                Neighbour = "neighbour", "another address beside the suspected one";
                Scrambled = "scrambled", "the same bytes, scrambled";
                Random = "random", "random bytes of the same sizes, same port and address";
                Plain = "plain", "the same without the feature under suspicion";
                OtherTransport = "other_transport", "the same over another transport";
                OtherPort = "other_port", "the same to another port";
                OtherVersion = "other_version", "the same in another version of the protocol";
                OtherSize = "other_size", "the same with packets of another size";
                Baseline = "baseline", "neither the suspected name nor the suspected feature";
                Outside = "outside", "the same seen from elsewhere";
                Domestic = "domestic", "a target at home";
                Foreign = "foreign", "a target abroad";
                Inbound = "inbound", "a flow that the other side opened";
                Series = "series", "a connection of a series";
                Recovery = "recovery", "the same after waiting";
                Step = "step", "a step of a search";
            ]
            [
                Ok = "ok", "it worked";
                Failed = "failed", "it failed, in whatever way";
                Reset = "reset", "it ended with RST";
                Timeout = "timeout", "nothing came, or nothing more";
                Eof = "eof", "it ended with an orderly close";
                Refused = "refused", "the connection was refused";
                Unreachable = "unreachable", "an ICMP message or the local stack said there is no route";
                Handshake = "handshake", "the handshake broke with an alert or a protocol error";
                Certificate = "certificate", "the certificate did not verify";
                Name = "name", "the name did not resolve";
                Slow = "slow", "it worked or lasted, at less than the ruleset's slow rate";
                Lossy = "lossy", "a tenth or more of its datagrams stayed without answer, and not all";
                Frozen = "frozen", "content came and then stopped for good, without FIN or RST";
            ]
        }
    };
}

macro_rules! define {
    ([ $( $role:ident = $role_word:literal, $role_doc:literal; )+ ] $endings:tt) => {
        words! {
            /// What an arm is in the comparison.
            Role { $( $role = $role_word, $role_doc; )+ }
        }
        define!(@endings $endings);
        /// Name and doc of each sign, role by role.
        pub(crate) const SIGNS: [(&str, &str); Role::COUNT * Ending::COUNT] =
            flat([ $( define!(@row $role_word, $role_doc, $endings), )+ ]);
    };
    (@endings [ $( $ending:ident = $word:literal, $doc:literal; )+ ]) => {
        words! {
            /// How an arm ended; several may hold of one.
            Ending { $( $ending = $word, $doc; )+ }
        }
    };
    (@row $role:literal, $role_doc:literal, [ $( $ending:ident = $word:literal, $doc:literal; )+ ]) => {
        [ $( (concat!("arm.", $role, ".", $word), concat!("an arm that is ", $role_doc, ": ", $doc)), )+ ]
    };
}

with_words!(define);

/// One list of the rows.
const fn flat(
    rows: [[(&'static str, &'static str); Ending::COUNT]; Role::COUNT],
) -> [(&'static str, &'static str); Role::COUNT * Ending::COUNT] {
    let mut all = [("", ""); Role::COUNT * Ending::COUNT];
    let mut at = 0;
    while at < all.len() {
        all[at] = rows[at / Ending::COUNT][at % Ending::COUNT];
        at += 1;
    }
    all
}
