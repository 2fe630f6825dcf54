//! The rows, by mechanism.

mod access;
mod budget;
mod check;
mod hellos;
mod names;
mod plane;
mod quic;
mod shipped;
mod sni;
mod throttle;
mod tunnels;
mod world;

pub use tunnels::ike_init;

use super::{Expected, Observed, Row, Run};

/// All rows, in the order of the specification's mechanisms.
pub fn rows() -> Vec<Row> {
    let mut rows = Rows::default();
    plane::rows(&mut rows);
    sni::rows(&mut rows);
    access::rows(&mut rows);
    quic::rows(&mut rows);
    throttle::rows(&mut rows);
    hellos::rows(&mut rows);
    budget::rows(&mut rows);
    tunnels::rows(&mut rows);
    names::rows(&mut rows);
    shipped::rows(&mut rows);
    world::rows(&mut rows);
    super::matrix_rows::rows(&mut rows);
    super::live::rows(&mut rows);
    rows.list
}

/// Where a statement stands, and on which profile it is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub source: &'static str,
    pub tag: char,
    pub confidence: &'static str,
    pub profile: &'static str,
}

/// Rows as they are collected.
#[derive(Default)]
pub(super) struct Rows {
    list: Vec<Row>,
}

/// What a trial answers.
pub(super) type Answer = Result<Observed, String>;

impl Rows {
    /// Adds one.
    pub(super) fn add(
        &mut self,
        said: Said,
        expected: Expected,
        id: &str,
        what: &str,
        run: impl Fn() -> Answer + Send + Sync + 'static,
    ) {
        let run: Run = Box::new(run);
        self.push(said, expected, id, what, Some(run));
    }

    /// The traffic gets through.
    pub(super) fn passes(
        &mut self,
        said: Said,
        id: &str,
        what: &str,
        run: impl Fn() -> Answer + Send + Sync + 'static,
    ) {
        self.add(said, Expected::Passes, id, what, run);
    }

    /// The traffic is stopped.
    pub(super) fn fails(
        &mut self,
        said: Said,
        id: &str,
        what: &str,
        run: impl Fn() -> Answer + Send + Sync + 'static,
    ) {
        self.add(said, Expected::Fails, id, what, run);
    }

    /// The statement holds.
    pub(super) fn holds(
        &mut self,
        said: Said,
        id: &str,
        what: &str,
        run: impl Fn() -> Answer + Send + Sync + 'static,
    ) {
        self.add(said, Expected::Holds, id, what, run);
    }

    /// The record is silent, and so is the row.
    pub(super) fn unknown(&mut self, said: Said, id: &str, what: &str) {
        self.push(said, Expected::Unknown, id, what, None);
    }

    fn push(&mut self, said: Said, expected: Expected, id: &str, what: &str, run: Option<Run>) {
        self.list.push(Row {
            id: id.to_owned(),
            source: said.source,
            tag: said.tag,
            confidence: said.confidence,
            profile: said.profile.to_owned(),
            what: what.to_owned(),
            expected,
            run,
        });
    }
}

/// Public sources, as the rows name them.
pub(super) mod source {
    pub const IMC22: &str = "Xue et al., TSPU, IMC 2022, https://ensa.fi/papers/tspu-imc22.pdf";
    pub const IMC21: &str = "Xue et al., Throttling Twitter, IMC 2021, doi:10.1145/3487552.3487858; https://censoredplanet.org/throttling";
    pub const FOCI25: &str = "Niere et al., FOCI 2025, https://www.petsymposium.org/foci/2025/foci-2025-0016.pdf; https://github.com/net4people/bbs/issues/417";
    pub const FOCI26: &str = "Heitmann et al., FOCI 2026, https://www.petsymposium.org/foci/2026/foci-2026-0010.pdf; https://github.com/net4people/bbs/issues/654";
    pub const TSPUDOC: &str = "https://github.com/DanielLavrushin/tspu-docs (training material, 2021)";
    pub const N4P_76: &str = "https://github.com/net4people/bbs/issues/76, /83, /274";
    pub const N4P_108: &str = "https://github.com/net4people/bbs/issues/108";
    pub const N4P_111: &str = "https://github.com/net4people/bbs/issues/111";
    pub const N4P_363: &str = "https://github.com/net4people/bbs/issues/363";
    pub const N4P_382: &str = "https://github.com/net4people/bbs/issues/382";
    pub const N4P_490: &str = "https://github.com/net4people/bbs/issues/490";
    pub const N4P_516: &str = "https://github.com/net4people/bbs/issues/516, /579, /650";
    pub const N4P_546: &str =
        "https://github.com/net4people/bbs/issues/546; https://github.com/XTLS/Xray-core/issues/5332";
    pub const N4P_603: &str = "https://github.com/net4people/bbs/issues/603, /422";
    pub const N4P_657: &str = "https://github.com/net4people/bbs/issues/657";
    pub const REFLEX: &str = "captures of 24 Sep 2026 by a public wire detector (reflex), Beeline";
    pub const CHECKERS: &str = "https://github.com/hyperion-cs/dpi-checkers (HEAD 2026-08-07)";
    pub const CLOUDFLARE: &str =
        "https://blog.cloudflare.com/russian-internet-users-are-unable-to-access-the-open-internet/";
    pub const MTPROXY: &str = "telegramdesktop/tdesktop PR 30513, issues 30733, 30734; 9seconds/mtg 547";
    pub const XRAY_6256: &str = "XTLS/Xray-core issue 6256; operators' logs, May-Sep 2026";
    pub const NDSS20: &str =
        "Ramesh et al., NDSS 2020, https://censoredplanet.org/russia; Müller et al. 2024";
    pub const ZAPRET: &str = "https://github.com/bol-van/zapret documentation";
    pub const WHITELIST: &str =
        "https://github.com/hxehex/russia-mobile-internet-whitelist (HEAD 2026-05-17)";
    pub const CALLS: &str =
        "regulator's statement of 13 Aug 2025 in the press; OONI Explorer, stunreachability";
    pub const SHUTDOWN: &str = "https://github.com/net4people/bbs/issues/515; HRW, 12 and 31 Mar 2026";
    pub const OUTLINE: &str =
        "https://github.com/net4people/bbs/issues/111; https://github.com/DanielLavrushin/tspu-docs";
    pub const CORPUS: &str = "https://corpus.lantern.io/ (machine-extracted findings)";
    pub const CHINA_FET: &str =
        "Wu et al., USENIX Security 2023, https://gfw.report/publications/usenixsecurity23/en/";
    pub const CHINA_QUIC: &str =
        "Zohaib et al., USENIX Security 2025, https://gfw.report/publications/usenixsecurity25/en/";
    pub const CHINA_ESNI: &str = "https://gfw.report/blog/gfw_esni_blocking/en/ (2020)";
    pub const HENAN: &str = "Wu et al., IEEE S&P 2025, https://gfw.report/publications/sp25/en/";
    pub const IRAN: &str =
        "Bock et al., FOCI 2020, https://www.usenix.org/conference/foci20/presentation/bock";
    pub const KAZAKH: &str =
        "Raman et al., IMC 2020, doi:10.1145/3419394.3423665; https://censoredplanet.org/kazakhstan";
    pub const TURKMEN: &str = "Nourin et al., WWW 2023, doi:10.1145/3543507.3583189";
    pub const TURKEY: &str = "https://github.com/net4people/bbs/issues/413";
}
