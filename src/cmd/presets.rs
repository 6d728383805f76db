//! `nimscale presets`: list the built-in metrics.

use nimscale_rules::presets::{Unit, presets};

use crate::output::{Exit, data};

pub fn run() -> anyhow::Result<Exit> {
    let mut text = format!("{:<12} {:<14} {:<8} {}\n", "NAME", "UNIT", "DEFAULT", "DESCRIPTION");
    for preset in presets() {
        let unit = match preset.unit {
            Unit::Ratio => "ratio 0..1",
            Unit::Requests => "requests/pod",
            Unit::RequestsPerSecond => "requests/s/pod",
            Unit::Seconds => "seconds",
        };
        let target = preset.target.map_or_else(|| "-".to_owned(), |target| target.to_string());
        text.push_str(&format!("{:<12} {unit:<14} {target:<8} {}\n", preset.name, preset.description));
    }
    data(&text)?;
    Ok(Exit::Done)
}
