//! The engines of the field as settings of the switches.
//!
//! Each preset makes the engine see what another engine saw on 51 captures of evasions
//! (`crates/lab/tests/presets.rs`). They prove that the switches can be any censor, and serve as a start
//! for profiles of one's own. A cell that is the other engine's bug is listed with how that is known.

use serde::Deserialize;

use crate::switches::Switches;

/// One engine of the field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// name of the engine
    pub name: String,
    /// which version, and what is peculiar to it
    pub about: String,
    /// where it comes from
    pub source: String,
    /// how it looks
    pub switches: Switches,
    /// captures on which it does not do what its own design says
    #[serde(default)]
    pub deviation: Vec<Deviation>,
}

/// A capture on which an engine's verdict is a bug of that engine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// the case's name
    pub case: String,
    /// which bug, and how it is known
    pub reason: String,
}

const TEXTS: [(&str, &str); 8] = [
    ("censorlab_sni.toml", include_str!("../presets/censorlab_sni.toml")),
    ("censorlab_gfw.toml", include_str!("../presets/censorlab_gfw.toml")),
    ("opengfw.toml", include_str!("../presets/opengfw.toml")),
    ("netem.toml", include_str!("../presets/netem.toml")),
    ("ndpi.toml", include_str!("../presets/ndpi.toml")),
    ("suricata.toml", include_str!("../presets/suricata.toml")),
    ("tshark.toml", include_str!("../presets/tshark.toml")),
    ("tshark_ooo.toml", include_str!("../presets/tshark_ooo.toml")),
];

impl Preset {
    /// All of them, in the order of the matrix.
    pub fn all() -> Vec<Self> {
        TEXTS
            .iter()
            .map(|(file, text)| {
                toml::from_str(text)
                    .unwrap_or_else(|error| panic!("the shipped preset {file} is wrong: {error}"))
            })
            .collect()
    }

    /// The preset of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|preset| preset.name.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_eight_presets_read_and_each_differs_from_the_others() {
        let presets = Preset::all();
        assert_eq!(presets.len(), 8);
        for (at, preset) in presets.iter().enumerate() {
            assert!(
                presets[at + 1..].iter().all(|other| other.switches != preset.switches),
                "{}",
                preset.name
            );
        }
    }
}
