//! Stand between the pods and the API server, and lose, refuse or slow their connections when a test says so.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::sleep;

/// Where the pods find the API server; its certificate names this host.
pub const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 6444);

/// Passes bytes on, unread: TLS goes from end to end.
#[derive(Clone, Debug)]
pub struct Proxy {
    faults: watch::Sender<Faults>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// How often all connections were cut.
    cuts: u64,
    refuses: bool,
    delay: Duration,
}

impl Proxy {
    /// Listens until the runtime ends.
    pub fn start(
        runtime: &Runtime,
        listen: impl Into<SocketAddr>,
        server: impl Into<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let (listen, server) = (listen.into(), server.into());
        let listener = runtime.block_on(TcpListener::bind(listen))?;
        let faults = watch::Sender::new(Faults::default());
        runtime.spawn(accept(listener, server, faults.clone()));
        Ok(Self { faults })
    }

    /// Closes every connection that is open.
    pub fn cut(&self) {
        self.faults.send_modify(|faults| faults.cuts += 1);
    }

    /// Closes every connection, and each new one, until it is taken back.
    pub fn refuse(&self, refuses: bool) {
        self.faults.send_modify(|faults| {
            faults.refuses = refuses;
            faults.cuts += u64::from(refuses);
        });
    }

    /// Holds back what comes, in both directions, by this long.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, faults: watch::Sender<Faults>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors, most likely: others must close first.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let faults = faults.subscribe();
        if !faults.borrow().refuses {
            tokio::spawn(pass(client, server, faults));
        }
    }
}

/// Passes one connection on until both sides have ended it, or it is cut.
async fn pass(client: TcpStream, server: SocketAddr, faults: watch::Receiver<Faults>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let born = faults.borrow().cuts;
    let mut cut = faults.clone();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let both =
        async { tokio::join!(forward(from_client, to_server, &faults), forward(from_server, to_client, &faults)) };
    tokio::select! {
        _ = both => {}
        _ = cut.wait_for(|faults| faults.cuts != born) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, faults: &watch::Receiver<Faults>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let delay = faults.borrow().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if read == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// A server that answers each byte by itself, and the proxy in front of it.
    fn echo(runtime: &Runtime) -> (Proxy, SocketAddr) {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let to = server.local_addr().expect("bound");
        thread::spawn(move || {
            for client in server.incoming().map_while(Result::ok) {
                thread::spawn(move || std::io::copy(&mut client.try_clone().expect("a socket"), &mut &client));
            }
        });
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        (Proxy::start(runtime, free, to).expect("the port is free still"), free)
    }

    fn answers(connection: &mut TcpStream) -> bool {
        let mut byte = [0];
        connection.write_all(b"x").is_ok() && connection.read_exact(&mut byte).is_ok()
    }

    #[test]
    fn it_passes_cuts_refuses_and_delays() {
        let runtime = Runtime::new().expect("a runtime");
        let (proxy, address) = echo(&runtime);
        let connect = || TcpStream::connect(address).expect("it listens");
        let mut first = connect();
        assert!(answers(&mut first));
        proxy.cut();
        assert!(!answers(&mut first), "an open connection is cut");
        let mut second = connect();
        assert!(answers(&mut second), "a new one passes");
        proxy.refuse(true);
        assert!(!answers(&mut second), "an outage ends what is open");
        assert!(!answers(&mut connect()), "and refuses what comes");
        proxy.refuse(false);
        let mut third = connect();
        assert!(answers(&mut third));
        proxy.delay(Duration::from_millis(100));
        let start = Instant::now();
        assert!(answers(&mut third));
        assert!(start.elapsed() >= Duration::from_millis(200), "there and back");
    }
}
