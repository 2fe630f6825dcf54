//! The techniques, one module each, and how a profile's rules become machines.
//!
//! A technique knows how something is done, never a number of it: numbers come from the profile, and a
//! default here is only the lab's, marked so in `explain`. What a technique needs beyond the flow at hand
//! stands in memories that expire.

mod address;
mod bypass;
mod calls;
mod capacity;
mod connections;
mod dns;
mod ech;
mod encapsulated;
mod entropy;
mod http;
mod inject;
mod intercept;
mod ip_id;
mod maker;
mod mtproxy;
mod packet_budget;
mod parts;
mod protocol_filter;
mod quic;
mod segment_stall;
mod sni;
mod snowflake;
mod trigger;
mod twitter;
mod two_stage;
mod vpn;
mod whitelist;

use crate::profile::{Profile, ProfileError};
use crate::technique::Technique;

use maker::Maker;

/// What a technique is, which lists it takes and which parameters it has.
#[derive(Debug)]
pub struct TechniqueSpec {
    /// name in profiles
    pub name: &'static str,
    /// what it does, in one sentence
    pub doc: &'static str,
    /// roles of its lists
    pub roles: &'static [&'static str],
    /// groups of parameters
    pub params: &'static [&'static [ParamSpec]],
    make: fn(&Maker<'_>) -> Result<Box<dyn Technique>, ProfileError>,
}

impl TechniqueSpec {
    /// Its parameters, group after group.
    pub fn params(&self) -> impl Iterator<Item = &'static ParamSpec> {
        self.params.iter().flat_map(|group| group.iter())
    }
}

/// A parameter that a technique has.
#[derive(Clone, Copy, Debug)]
pub struct ParamSpec {
    /// name in profiles
    pub name: &'static str,
    /// unit of its numbers; empty for none
    pub unit: &'static str,
    /// what holds where a profile is silent
    pub default: DefaultValue,
    /// what it means
    pub doc: &'static str,
}

/// What holds where a profile is silent: the lab's choice, no fact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DefaultValue {
    /// nothing: the profile has to say
    Needed,
    /// a flag
    Flag(bool),
    /// a number
    Number(f64),
    /// words
    Text(&'static str),
    /// numbers
    Numbers(&'static [f64]),
    /// several words
    Texts(&'static [&'static str]),
}

/// Every technique, by name.
pub static TECHNIQUES: &[&TechniqueSpec] = &[
    &address::BLACKOUT,
    &address::IP_BLOCK,
    &bypass::FAIL_OPEN,
    &bypass::OVERLOAD,
    &calls::CALLS,
    &capacity::CAPACITY,
    &connections::CONNECTIONS,
    &dns::FORGE,
    &dns::REDIRECT,
    &ech::ECH,
    &ech::ESNI,
    &encapsulated::ENCAPSULATED,
    &entropy::ENTROPY,
    &http::BLOCKPAGE,
    &inject::INJECT,
    &intercept::INTERCEPT,
    &ip_id::IP_ID,
    &mtproxy::MTPROXY,
    &packet_budget::PACKET_BUDGET,
    &protocol_filter::PROTOCOL_FILTER,
    &quic::SNI,
    &quic::VERSION,
    &segment_stall::SEGMENT_STALL,
    &sni::DROP,
    &sni::RESET,
    &sni::SILENCE,
    &sni::THROTTLE,
    &snowflake::SNOWFLAKE,
    &twitter::TWITTER,
    &two_stage::TWO_STAGE,
    &vpn::VPN,
    &whitelist::WHITELIST,
];

/// The technique of that name.
pub fn spec(name: &str) -> Option<&'static TechniqueSpec> {
    TECHNIQUES.iter().copied().find(|spec| spec.name == name)
}

/// Makes the machines of a profile's rules that are switched on, in their order.
pub fn build(profile: &Profile) -> Result<Vec<Box<dyn Technique>>, ProfileError> {
    let mut techniques = Vec::new();
    for rule in profile.active() {
        let Some(spec) = spec(&rule.technique) else {
            let known: Vec<&str> = TECHNIQUES.iter().map(|spec| spec.name).collect();
            let problem = format!("there is no technique `{}`", rule.technique);
            let fix = crate::profile::suggestion(&rule.technique, &known);
            return Err(ProfileError::new(&rule.file, rule.line, problem, fix));
        };
        let maker = Maker::new(profile, rule, spec);
        for part in parts::parts(&maker, rule)? {
            techniques.push((spec.make)(&maker.of(part))?);
        }
    }
    Ok(techniques)
}

#[cfg(test)]
mod tests;
