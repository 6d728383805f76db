//! A ground to play on: a real control plane with the adapter and a fleet of NIMs, until the input ends.

use std::io::stdin;

use nimscale_ground::scenario::NIM;
use nimscale_ground::{Options, play};

fn main() -> anyhow::Result<()> {
    play(Options::default(), |ground| {
        ground.install();
        ground.apply(NIM);
        println!("export KUBECONFIG={} PATH={}:$PATH", ground.kubeconfig().display(), ground.programs().display());
        println!("kubectl get pods,hpa -A -w");
        println!("Here, `METRIC VALUE` is a load that the serving NIMs share: gpu_cache_usage_perc 0.208");
        for line in stdin().lines().map_while(Result::ok) {
            match line.split_once(' ').map(|(metric, value)| (metric, value.trim().parse::<f64>())) {
                Some((metric, Ok(value))) => ground.fleet.total(metric, value),
                Some((_, Err(_))) | None => println!("METRIC VALUE, or the end of the input"),
            }
        }
    })
}
