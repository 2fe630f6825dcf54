//! `okno probe test`: one target, measured, judged and explained.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use okno_detect::{Knowledge, Ruleset};
use okno_lab::score::Desk;
use okno_probe::session::{Done, Job, Session};
use serde_json::{Value, json};
use url::Url;

use super::cli::Test;
use super::output::Output;
use super::{explain, setup};
use crate::Unusable;
use crate::observe::lang;

pub fn run(args: &Test) -> Result<ExitCode> {
    let input = input_of(&args.target)?;
    let experiment = setup::tests(std::slice::from_ref(&args.test), &args.common.option)?.remove(0);
    let jobs = [Job { input: experiment.takes_input().then(|| input.clone()), experiment }];
    let mut plan = setup::plan(&args.common, 1)?;
    let reference = crate::reference::load(args.common.reference.as_deref())?;
    setup::check_risks(&args.common, &jobs, &reference)?;
    let stun = setup::stun(&args.common)?;
    if args.common.dry_run {
        let list = setup::dry(&plan, &jobs, stun.as_ref(), args.json)?;
        writeln!(std::io::stdout(), "{list}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let sockets = setup::sockets(&args.common)?;
    let mut file = args.output.as_deref().map(Output::create).transpose()?;
    let quiet = args.common.quiet || args.json;
    let mut made = None;
    okno_sockets::run(async {
        let world = setup::open(&sockets, &mut plan, stun.as_ref(), quiet).await;
        let session = Session::new(world, plan, &jobs);
        let mut each = |done: Done| {
            made = Some(done);
            Ok(())
        };
        session.run(&jobs, &mut each).await?;
        setup::tell_refusals(&session.ledger().attempts());
        Ok::<_, std::io::Error>(())
    })??;
    let line = made.context("the session ended without a measurement")?.line;
    let line = line.map_err(|why| anyhow::anyhow!("{}: {why}", args.test))?;
    if let Some(mut file) = file.take() {
        file.line(&line)?;
        file.finish(1)?;
    }
    let rules = Ruleset::native();
    let knowledge = Knowledge::empty();
    let judged = Desk::new(&rules, &reference, &knowledge).judge(&[&line]).pop().flatten();
    let judged = judged.context("the measurement cannot be read back; please report this")?;
    let compared = args.common.helper.is_some();
    let sentence = explain::sentence(&input, &judged, compared, lang(args.lang));
    let mut out = std::io::stdout().lock();
    if args.json {
        let verdicts: Vec<Value> = judged.findings.iter().map(explain::verdict).collect();
        let measurement: Value = serde_json::from_str(&line)?;
        let all = json!({ "sentence": sentence, "verdicts": verdicts, "measurement": measurement });
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    } else {
        writeln!(out, "{sentence}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A URL; a bare host is taken for its HTTPS page. Endpoints of other tests stay as they are.
fn input_of(target: &str) -> Result<String> {
    if target.contains("://") {
        Url::parse(target).map_err(|error| Unusable(format!("{target}: no URL ({error})")))?;
        return Ok(target.to_string());
    }
    let url = Url::parse(&format!("https://{target}/"));
    let url = url.map_err(|error| Unusable(format!("{target}: neither URL nor host ({error})")))?;
    Ok(url.to_string())
}
