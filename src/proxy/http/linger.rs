//! A connection whose client is still sending what nobody will read.
//!
//! Closed at once, the kernel would answer the rest with a reset, and that takes away what the client has not read yet:
//! the very answer that says why. So the connection is ended in our direction alone, and what comes is read and dropped
//! for a while (RFC 9112 §9.6).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// How long at the most, and …
const WHOLE: Duration = Duration::from_secs(5);
/// … how long without a byte.
const QUIET: Duration = Duration::from_secs(1);

/// Reads and drops what still comes on a stream that was shut down.
pub(super) async fn linger(mut stream: impl AsyncRead + Unpin) {
    let mut room = [0; 8192];
    let dropping = async { while let Ok(Ok(1..)) = timeout(QUIET, stream.read(&mut room)).await {} };
    let _ = timeout(WHOLE, dropping).await;
}
