//! Play the whole story on a real control plane for a person: install, annotate, watch; then whatever is typed.
//!
//! `cargo run -p nimscale-ground` builds nimscale first, and the control plane when it is missing.

use std::io::{Write, stdin};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use nimscale_ground::scenario::{NAME, NIM};
use nimscale_ground::{Ground, Options, play, product};

/// The story: an hour of a NIM's day in a minute.
const LOADS: [(f64, &str); 6] = [
    (0.009, "a quiet NIM"),
    (0.056, "a little more to do"),
    (0.208, "twice what one NIM shall have"),
    (0.293, "each of three has a third"),
    (0.056, "the rush is over"),
    (0.007, "quiet again"),
];

fn main() -> anyhow::Result<()> {
    let nimscale = build()?;
    let options = Options { nimscale: Some(nimscale), hpa_sync: Duration::from_secs(2), ..Options::default() };
    play(options, |ground| {
        story(ground);
        println!("\nThe ground stays until the end of the input (Ctrl-D). From another terminal, inside:");
        println!("export KUBECONFIG={} PATH={}:$PATH", ground.kubeconfig().display(), ground.programs().display());
        println!("Here, `METRIC VALUE` is a load that the serving NIMs share: gpu_cache_usage_perc 0.208");
        for line in stdin().lines().map_while(Result::ok) {
            match line.split_once(' ').map(|(metric, value)| (metric, value.trim().parse::<f64>())) {
                Some((metric, Ok(value))) => ground.fleet.total(metric, value),
                Some((_, Err(_))) | None => println!("METRIC VALUE, or the end of the input"),
            }
        }
    })
}

/// The binary that is next to this one, as cargo builds it.
fn build() -> anyhow::Result<&'static str> {
    let binary = std::env::current_exe()?.with_file_name("nimscale");
    // Inside its namespace this program runs a second time.
    if let Some(cargo) = std::env::var_os("CARGO").filter(|_| !nimscale_ground::is_inside()) {
        let built = Command::new(cargo).args(["build", "--quiet", "--package", "nimscale"]).status()?;
        anyhow::ensure!(built.success(), "nimscale was not built");
    }
    let binary = binary.into_os_string().into_string().ok().context("the path of the binary is UTF-8")?;
    Ok(Box::leak(binary.into_boxed_str()))
}

fn story(ground: &Ground) {
    say("A cluster has prometheus-adapter, with a rule of somebody else.");
    say("nimscale install | kubectl apply --server-side -f -");
    ground.fleet.total("gpu_cache_usage_perc", LOADS[0].0);
    product::installed(ground, &[]);
    say("helm upgrade prometheus-adapter … --set rules.existing=nimscale-adapter-config   (once; here: kubectl patch)");
    shown(ground, &["get", "pods", "-A"]);
    let manifest = NIM.replace(
        "    nimscale.dev/scale: \"1..10\"\n",
        "    nimscale.dev/behavior: \"down 2/5s after 5s\" # short, for this story\n    nimscale.dev/scale: \"1..10\"\n",
    );
    let annotations = manifest.lines().filter(|line| line.contains("nimscale.dev/")).map(|line| format!("{line}\n"));
    say("One Deployment of a NIM, and all that it says of scaling:");
    print!("{}", annotations.collect::<String>());
    say("A slip of the pen is refused while kubectl waits:");
    print!("{}", ground.rejects(&manifest.replace("gpu_cache_usage_perc < 0.1", "gpu_cache_usage_perc <= 0.1")));
    say("kubectl apply -f deploy/examples/nim-llm.yaml");
    print!("{}", ground.apply(&manifest).out);
    nimscale_ground::eventually("the HPA sees a value", || {
        ground.get("hpa", "nim", &format!("{NAME}-nimscale"))["status"]["currentMetrics"][0].is_object()
    });
    say("kubectl get hpa -n nim -w");
    let watch = ground.kubectl_command().args(["get", "hpa", "-n", "nim", "-w"]).stdin(Stdio::null()).spawn();
    let mut watch = watch.expect("kubectl runs");
    for (load, what) in LOADS {
        println!("  -- gpu_cache_usage_perc {load} over all pods: {what}");
        ground.fleet.total("gpu_cache_usage_perc", load);
        sleep(Duration::from_secs(10));
    }
    ground.scales_to("deployment", "nim", NAME, 1);
    watch.kill().and_then(|()| watch.wait()).expect("kubectl runs still");
    say("nimscale status -n nim");
    print!("{}", product::nimscale(ground, &["status", "-n", "nim"]).0);
    say("kubectl get events -n nim");
    shown(ground, &["get", "events", "-n", "nim", "--sort-by=.metadata.creationTimestamp", "--field-selector=type!=x"]);
}

fn say(text: &str) {
    println!("\n# {text}");
    let _ = std::io::stdout().flush();
}

fn shown(ground: &Ground, args: &[&str]) {
    let shown = ground.kubectl(args, "");
    print!("{}{}", shown.out, shown.err);
}
