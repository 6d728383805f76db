//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends.

use std::io;
use std::process;

use futures::stream::{self, Stream, StreamExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Becomes true with the first signal; a second one ends the process with 1.
///
/// Our own trigger, since kube's `shutdown_on_signal` does not end on one SIGTERM while the API server is away.
/// Whoever waits for the ordered end needs a deadline of his own.
pub fn shutdown() -> io::Result<watch::Receiver<bool>> {
    let signals = stream::select(
        named("SIGTERM", signal(SignalKind::terminate())?),
        named("SIGINT", signal(SignalKind::interrupt())?),
    );
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        if second(signals, sender).await.is_some() {
            process::exit(1);
        }
    });
    Ok(receiver)
}

fn named(name: &'static str, mut signal: Signal) -> impl Stream<Item = &'static str> {
    stream::poll_fn(move |context| signal.poll_recv(context).map(|got| got.map(|()| name)))
}

/// Passes the first signal on and waits for the second.
async fn second(signals: impl Stream<Item = &'static str>, shutdown: watch::Sender<bool>) -> Option<&'static str> {
    let mut signals = std::pin::pin!(signals);
    let signal = signals.next().await?;
    tracing::info!(signal, "shutting down");
    shutdown.send_replace(true);
    let signal = signals.next().await?;
    tracing::warn!(signal, "a second signal: ending at once");
    Some(signal)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_asks_for_an_end() {
        let mut shutdown = shutdown().expect("a runtime takes signals");
        assert!(!*shutdown.borrow());
        let status = Command::new("kill").args(["-TERM", &process::id().to_string()]).status();
        assert!(status.expect("kill is a program").success());
        let asked = timeout(Duration::from_secs(10), shutdown.wait_for(|asked| *asked)).await;
        assert!(asked.is_ok_and(|asked| asked.is_ok()));
    }

    #[tokio::test]
    async fn the_second_signal_ends() {
        let (sender, receiver) = watch::channel(false);
        assert_eq!(second(stream::iter(["SIGTERM"]), sender).await, None, "one signal never ends by force");
        assert!(*receiver.borrow());
        let (sender, _receiver) = watch::channel(false);
        assert_eq!(second(stream::iter(["SIGTERM", "SIGINT"]), sender).await, Some("SIGINT"));
    }
}
