//! From `--profile` to a box, and `okno lab explain`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use okno_censor::profile::{BUILTIN, Selection, builtin};
use okno_censor::{Engine, Profile, ProfileError};
use serde_json::{Value, json};

use super::cli;
use crate::Unusable;

fn unusable(error: &ProfileError) -> anyhow::Error {
    Unusable(error.to_string()).into()
}

/// The profile behind a name, or behind a path to a TOML file.
fn named(words: &str) -> Result<Profile> {
    let path = Path::new(words);
    if path.extension().is_some_and(|end| end == "toml") {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Unusable(format!("--profile {words} cannot be read: {error}")))?;
        return Profile::parse(words, &text).map_err(|error| unusable(&error));
    }
    Profile::named(words).map_err(|error| unusable(&error))
}

/// The profile that a replay asks, after all that the user chose.
pub fn select(args: &cli::Replay) -> Result<Profile> {
    let selection = Selection { network: args.network, set: args.set.clone(), ..Selection::default() };
    let mut profile = named(&args.profile)?.select(&selection).map_err(|error| unusable(&error))?;
    if !args.profile.contains('@') {
        // Rules that followed one another never acted together.
        profile = profile.standing();
    }
    for choice in &args.list {
        let Some((list, file)) = choice.split_once('=') else {
            return Err(Unusable(format!("--list {choice} has no `=`; write --list NAME=FILE")).into());
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Unusable(format!("--list {choice}: {file} cannot be read: {error}")))?;
        profile.override_list(list, file, &text).map_err(|error| unusable(&error))?;
    }
    profile.engine().map_err(|error| unusable(&error))?;
    Ok(profile)
}

/// A box without memory.
pub fn engine(profile: &Profile) -> Engine {
    profile.engine().expect("the profile made a box when it was selected")
}

/// Explains a profile, or lists them all.
pub fn explain(args: &cli::Explain) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let Some(words) = &args.profile else {
        if args.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&list())?)?;
            return Ok(ExitCode::SUCCESS);
        }
        for (name, _) in BUILTIN {
            let profile = builtin(name).expect("the list names what there is");
            writeln!(out, "{name:<26} {}", profile.title)?;
            for (variant, meant) in &profile.variants {
                writeln!(out, "  {:<24} {}", format!(":{variant}"), meant.title)?;
            }
        }
        writeln!(
            out,
            "\nokno lab explain NAME tells each figure with its source; NAME:VARIANT@DATE chooses."
        )?;
        return Ok(ExitCode::SUCCESS);
    };
    let explanation = okno_censor::explain::explain(&named(words)?);
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&explanation)?)?;
    } else {
        write!(out, "{}", explanation.text())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list() -> Vec<Value> {
    let profiles = BUILTIN.iter().filter_map(|(name, _)| builtin(name));
    profiles
        .map(|profile| {
            let variants: Vec<Value> = profile
                .variants
                .iter()
                .map(|(name, variant)| json!({ "name": name, "title": variant.title }))
                .collect();
            json!({
                "name": profile.name, "title": profile.title, "country": profile.country.as_str(),
                "rules": profile.rules.len(), "variants": variants,
            })
        })
        .collect()
}
