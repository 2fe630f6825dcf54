//! What is known from outside when facts are judged: whose page a fingerprint is.

use std::borrow::Cow;

use hashbrown::HashMap;
use okno_model::{FingerprintInfo, ReferenceStamp};

use crate::hash::FixedState;

/// What verdicts say when nothing was known.
const NONE: &str = "none";

/// Fingerprints by id and by DNS answer, and the versions of the tables they come from.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    http: HashMap<String, FingerprintInfo, FixedState>,
    dns: HashMap<String, FingerprintInfo, FixedState>,
    stamp: ReferenceStamp,
}

impl Knowledge {
    /// From HTTP fingerprints (ingest has matched them; observations carry their ids), DNS
    /// fingerprints with the
    /// answer that each stands for, and the stamp that verdicts shall carry. Of two with one id the
    /// later counts.
    pub fn new(
        http: impl IntoIterator<Item = FingerprintInfo>,
        dns: impl IntoIterator<Item = (String, FingerprintInfo)>,
        stamp: ReferenceStamp,
    ) -> Self {
        let http = http.into_iter().map(|info| (info.id.clone(), info)).collect();
        Self { http, dns: dns.into_iter().collect(), stamp }
    }

    /// Nothing known; verdicts say `none`.
    pub fn empty() -> Self {
        Self { stamp: ReferenceStamp { text: NONE.to_owned() }, ..Self::default() }
    }

    /// Versions of the tables.
    pub fn stamp(&self) -> &ReferenceStamp {
        &self.stamp
    }

    pub(crate) fn stamp_text(&self) -> Cow<'static, str> {
        if self.stamp.text == NONE { Cow::Borrowed(NONE) } else { Cow::Owned(self.stamp.text.clone()) }
    }

    pub(crate) fn http(&self, id: &str) -> Option<&FingerprintInfo> {
        self.http.get(id)
    }

    pub(crate) fn dns(&self, answer: &str) -> Option<&FingerprintInfo> {
        if self.dns.is_empty() { None } else { self.dns.get(answer) }
    }
}
