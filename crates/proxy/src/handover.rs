//! Gives the listening sockets to another program without losing a request.
//!
//! 1. The old process binds `DATA/handover.sock`, starts the new program with the same arguments and the socket's path in
//!    [`VARIABLE`], and sends it all listening sockets and the lock on the data directory (`SCM_RIGHTS`).
//! 2. The new one reads the stored tables and says `Ready`. Until here a failure costs nothing.
//! 3. The old one stops answering the admin socket, lets go of the instances (they keep running) and says `Go`.
//! 4. The new one takes over, accepts, and says `Serving`. From now on both accept from the same kernel queues.
//! 5. The old one stops accepting, drains and ends. If the new one failed, it takes the instances back and goes on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::control::{Control, Ending, Inherited, Registry, State, refused, serve_admin};
use crate::protocol::{ProxyStatus, Refused, Upgrade};
use crate::supervise::Supervisor;

/// Environment variable that tells a new process where its predecessor waits.
pub(crate) const VARIABLE: &str = "TIDEGATE_HANDOVER";
/// Longest wait for the other process's next word.
const WORD_WAIT: Duration = Duration::from_secs(15);
/// Sockets per message; the kernel's limit is 253.
const SOCKETS_PER_MESSAGE: usize = 64;
/// Sockets in one hand-over.
const SOCKETS_MAX: usize = 65_536;
/// Longest word, bytes.
const WORD_MAX: u32 = 16 * 1024 * 1024;
/// Pause between looks at the new process while it starts.
const START_PAUSE: Duration = Duration::from_millis(10);

/// What the process owns and the next one inherits.
pub(crate) struct Legacy {
    pub(crate) lock: File,
    pub(crate) admin: UnixListener,
    pub(crate) metrics: Option<TcpListener>,
    /// Tells the admin loop to stop accepting.
    pub(crate) admin_closed: watch::Sender<bool>,
}

/// What one socket is.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Gift {
    Lock,
    Admin,
    Metrics,
    Door { service: String, asked: SocketAddr },
}

/// What the old process says first; as many descriptors follow, in this order.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    gifts: Vec<Gift>,
}

/// What the old process says last.
#[derive(Debug, Serialize, Deserialize)]
struct Go;

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Ready,
    Serving(ProxyStatus),
    Failed(String),
}

/// What a new process got.
pub(crate) struct Estate {
    pub(crate) lock: File,
    pub(crate) admin: UnixListener,
    pub(crate) metrics: Option<TcpListener>,
    pub(crate) doors: Vec<Inherited>,
    /// The predecessor.
    pub(crate) old: Predecessor,
}

/// The way to the old process.
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// Asks the old process to let go, once this one can start.
    pub(crate) fn ready(&mut self) -> io::Result<()> {
        say(&mut self.0, &Said::Ready)?;
        hear::<Go>(&mut self.0).map(|Go| ())
    }

    /// Tells the old process that this one serves.
    pub(crate) fn serving(&mut self, status: ProxyStatus) -> io::Result<()> {
        say(&mut self.0, &Said::Serving(status))
    }

    /// Tells the old process to go on by itself.
    pub(crate) fn failed(&mut self, error: &dyn std::fmt::Display) {
        // If it does not hear it, it notices that this process ended.
        let _ = say(&mut self.0, &Said::Failed(error.to_string()));
    }
}

/// Receives everything from the process that waits at `path`.
pub(crate) fn inherit(path: &Path) -> io::Result<Estate> {
    let mut stream = UnixStream::connect(path)?;
    bounded(&stream)?;
    let offer: Offer = hear(&mut stream)?;
    let mut descriptors = receive(&stream, offer.gifts.len())?;
    let (mut lock, mut admin, mut metrics) = (None, None, None);
    let mut doors: Vec<Inherited> = Vec::new();
    for gift in offer.gifts {
        let descriptor =
            descriptors.pop_front().ok_or_else(|| io::Error::other("fewer sockets came than were named"))?;
        match gift {
            Gift::Lock => lock = Some(File::from(descriptor)),
            Gift::Admin => admin = Some(UnixListener::from(descriptor)),
            Gift::Metrics => metrics = Some(TcpListener::from(descriptor)),
            Gift::Door { service, asked } => {
                let socket = TcpListener::from(descriptor);
                match doors.last_mut().filter(|door| door.service == service && same_address(door, &socket)) {
                    Some(door) => door.sockets.push(socket),
                    None => doors.push(Inherited { service, asked, sockets: vec![socket] }),
                }
            }
        }
    }
    let missing = || io::Error::other("the old process sent no lock or no admin socket");
    Ok(Estate {
        lock: lock.ok_or_else(missing)?,
        admin: admin.ok_or_else(missing)?,
        metrics,
        doors,
        old: Predecessor(stream),
    })
}

fn same_address(door: &Inherited, socket: &TcpListener) -> bool {
    let address = |socket: &TcpListener| socket.local_addr().ok();
    door.sockets.first().is_some_and(|first| address(first) == address(socket))
}

/// Replaces this process by `upgrade.program`; answers with what the new one is.
pub(crate) async fn upgrade(control: &Rc<Control>, upgrade: &Upgrade) -> Result<ProxyStatus, Refused> {
    let program = Path::new(&upgrade.program);
    if !program.is_absolute() || !program.is_file() {
        let message =
            format!("cannot upgrade to `{}`: it is not the absolute path of a file", upgrade.program);
        return Err(refused("bad_request", message));
    }
    // Held throughout, so that no table changes after the new process has read them.
    let mut state = control.state.lock().await;
    control.in_charge()?;
    let failed = |error: &dyn std::fmt::Display| {
        refused("internal", format!("cannot upgrade to `{}`: {error}; this process goes on", upgrade.program))
    };
    let path = control.data.join("handover.sock");
    let started = start(&path, program).await;
    // Only the one process that was started needs it.
    let _ = std::fs::remove_file(&path);
    let (mut child, stream) = started.map_err(|error| failed(&error))?;
    let result = hand_over(control, &mut state, stream).await;
    if result.is_ok() {
        control.ending.send_replace(Ending::HandedOver);
    } else {
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
    result.map_err(|error| failed(&error))
}

async fn start(path: &Path, program: &Path) -> io::Result<(Child, UnixStream)> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, path)
        .stdin(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + WORD_WAIT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok((child, stream)),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => {}
        }
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the new program ended at once ({status})")));
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::other("the new program did not ask for the sockets in time"));
        }
        tokio::time::sleep(START_PAUSE).await;
    }
}

/// Steps 1 to 4; on failure this process is as it was before.
async fn hand_over(control: &Rc<Control>, state: &mut State, stream: UnixStream) -> io::Result<ProxyStatus> {
    stream.set_nonblocking(false)?;
    bounded(&stream)?;
    let (offer, descriptors) = offer(control, state)?;
    let stream = blocking(stream, move |stream| {
        say(stream, &offer)?;
        send(stream, &descriptors)?;
        match hear(stream)? {
            Said::Ready => Ok(()),
            Said::Failed(reason) => Err(io::Error::other(reason)),
            Said::Serving(_) => Err(io::Error::other("it spoke out of turn")),
        }
    })
    .await?
    .0;
    control.legacy.admin_closed.send_replace(true);
    control.supervisor().hand_over().await;
    let served = blocking(stream, |stream| {
        say(stream, &Go)?;
        match hear(stream)? {
            Said::Serving(status) => Ok(status),
            Said::Failed(reason) => Err(io::Error::other(reason)),
            Said::Ready => Err(io::Error::other("it spoke out of turn")),
        }
    })
    .await;
    if served.is_err() {
        take_back(control);
    }
    served.map(|(_, status)| status)
}

/// Runs blocking words on a thread of their own.
async fn blocking<T: Send + 'static>(
    mut stream: UnixStream,
    words: impl FnOnce(&mut UnixStream) -> io::Result<T> + Send + 'static,
) -> io::Result<(UnixStream, T)> {
    let said = tokio::task::spawn_blocking(move || words(&mut stream).map(|said| (stream, said))).await;
    said.map_err(io::Error::other)?
}

/// The new process failed after this one had let go: supervise and answer again.
fn take_back(control: &Rc<Control>) {
    let traffic: std::sync::Arc<Registry> = std::sync::Arc::clone(&control.registry);
    match Supervisor::open(instances(&control.data), traffic) {
        Ok(supervisor) => {
            control.supervisor.replace(supervisor);
        }
        Err(error) => tracing::error!(%error, "cannot supervise the instances again after a failed upgrade"),
    }
    if let Err(error) = open_admin(control) {
        tracing::error!(%error, "cannot answer the admin socket again after a failed upgrade");
    }
}

/// Where the supervisor keeps its state.
pub(crate) fn instances(data: &Path) -> PathBuf {
    data.join("instances")
}

/// Answers the admin socket from now on.
pub(crate) fn open_admin(control: &Rc<Control>) -> io::Result<()> {
    control.legacy.admin_closed.send_replace(false);
    let listener = control.legacy.admin.try_clone()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let closed = control.legacy.admin_closed.subscribe();
    tokio::task::spawn_local(serve_admin(Rc::clone(control), listener, closed));
    Ok(())
}

fn offer(control: &Control, state: &State) -> io::Result<(Offer, Vec<OwnedFd>)> {
    let legacy = &control.legacy;
    let mut gifts = vec![Gift::Lock, Gift::Admin];
    let mut descriptors: Vec<OwnedFd> =
        vec![legacy.lock.try_clone()?.into(), legacy.admin.try_clone()?.into()];
    if let Some(metrics) = &legacy.metrics {
        gifts.push(Gift::Metrics);
        descriptors.push(metrics.try_clone()?.into());
    }
    for kept in state.services.values() {
        for door in kept.doors() {
            for socket in &door.sockets {
                gifts.push(Gift::Door { service: kept.service.name.clone(), asked: door.asked });
                descriptors.push(socket.try_clone()?.into());
            }
        }
    }
    Ok((Offer { gifts }, descriptors))
}

fn bounded(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(WORD_WAIT))?;
    stream.set_write_timeout(Some(WORD_WAIT))
}

fn say<T: Serialize>(stream: &mut UnixStream, word: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(word)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&bytes)
}

fn hear<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0_u8; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > WORD_MAX {
        return Err(io::Error::other("the other process said too much"));
    }
    let mut bytes = vec![0_u8; usize::try_from(length).map_err(io::Error::other)?];
    stream.read_exact(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

fn send(stream: &UnixStream, descriptors: &[OwnedFd]) -> io::Result<()> {
    for part in descriptors.chunks(SOCKETS_PER_MESSAGE) {
        let part: Vec<BorrowedFd<'_>> = part.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_PER_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&part)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        rustix::net::sendmsg(stream, &[IoSlice::new(b"F")], &mut control, SendFlags::empty())?;
    }
    Ok(())
}

fn receive(stream: &UnixStream, count: usize) -> io::Result<VecDeque<OwnedFd>> {
    if count > SOCKETS_MAX {
        return Err(io::Error::other("more sockets than a proxy can have"));
    }
    let mut descriptors = VecDeque::new();
    while descriptors.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_PER_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0_u8; 1];
        let received = rustix::net::recvmsg(
            stream,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                descriptors.extend(sockets);
            }
        }
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_more_sockets_than_fit_one_message_arrive() {
        let (mut old, mut new) = UnixStream::pair().expect("pair");
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let sockets: Vec<OwnedFd> = (0..150).map(|_| listener.try_clone().expect("clone").into()).collect();
        say(&mut old, &Offer { gifts: vec![Gift::Admin; 150] }).expect("said");
        send(&old, &sockets).expect("sent");
        let offer: Offer = hear(&mut new).expect("heard");
        let got = receive(&new, offer.gifts.len()).expect("received");
        assert_eq!(got.len(), 150);
        let last = TcpListener::from(got.into_iter().last().expect("a socket"));
        assert_eq!(last.local_addr().expect("address"), listener.local_addr().expect("address"));
    }
}
