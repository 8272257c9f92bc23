//! An HTTP server of one directory that counts what it is asked, and misbehaves as a test wants.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Takes the request and says nothing for a minute.
    Silent,
    /// Gives what was asked for a byte at a time, ten a second.
    Drips,
    /// Answers 503.
    Unavailable,
    /// Answers 503 once, and asks to come back in so many seconds.
    Busy(u32),
    /// Answers 403.
    Denied,
    /// Gives the whole file when it is asked for a part.
    NoRanges,
    /// Ends the answer in the middle, without a word.
    Resets,
    /// Gives half of what was asked for as if it were all.
    Truncates,
    /// Flips a bit in the middle.
    Flips,
    /// Gives other bytes of the file than those asked for.
    WrongRange,
    /// Says that everything is there, and gives nothing.
    Empty,
    /// Answers, and rightly, only once the server does something else, or nothing, wrong.
    Held,
}

/// A server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// The fault, and what a path must hold for it.
    fault: Mutex<Option<(Fault, String)>>,
    /// The date of every answer, as HTTP writes it; none without.
    date: Mutex<Option<String>>,
    requests: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl Server {
    /// Serves the directory `root` on a free port of this machine.
    pub fn of(root: &Path) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let shared = Arc::new(Shared {
            root: root.to_path_buf(),
            fault: Mutex::new(None),
            date: Mutex::new(None),
            requests: Mutex::new(Vec::new()),
            ended: AtomicBool::new(false),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.ended.load(Ordering::Relaxed) {
                    return;
                }
                let serving = serving.clone();
                // A client that goes away in the middle is none of our concern.
                thread::spawn(move || drop(serving.answer(stream)));
            }
        });
        Server { address, shared }
    }

    /// Returns the address of the directory.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on does `fault` with every path that holds `part`.
    pub fn fails(&self, fault: Fault, part: &str) {
        *self.shared.fault.lock().expect("no thread panics") = Some((fault, part.to_owned()));
    }

    /// From now on does nothing wrong.
    pub fn recovers(&self) {
        *self.shared.fault.lock().expect("no thread panics") = None;
    }

    /// From now on gives `date` with every answer, as HTTP writes it.
    pub fn dates(&self, date: &str) {
        *self.shared.date.lock().expect("no thread panics") = Some(date.to_owned());
    }

    /// Returns the paths that were asked for since this was asked the last time.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().expect("no thread panics"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for the next client.
        drop(TcpStream::connect(&self.address));
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned();
        let mut range = None;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? <= 2 {
                break;
            }
            let lower = header.to_ascii_lowercase();
            if let Some(text) = lower.strip_prefix("range: bytes=") {
                range = text.trim().split_once('-').and_then(|(start, end)| {
                    Some((start.parse::<usize>().ok()?, end.parse::<usize>().ok()?))
                });
            }
        }
        self.requests
            .lock()
            .expect("no thread panics")
            .push(path.clone());
        while self.fault_of(&path) == Some(Fault::Held) && !self.ended.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        self.send(&stream, &path, range, self.fault_of(&path))
    }

    fn fault_of(&self, path: &str) -> Option<Fault> {
        let fault = self.fault.lock().expect("no thread panics").clone();
        let fault = fault.filter(|(_, part)| path.contains(part.as_str()));
        fault.map(|(fault, _)| fault)
    }

    fn send(
        &self,
        mut stream: &TcpStream,
        path: &str,
        range: Option<(usize, usize)>,
        fault: Option<Fault>,
    ) -> std::io::Result<()> {
        let date = self.date.lock().expect("no thread panics").clone();
        let date = date.map_or(String::new(), |date| format!("Date: {date}\r\n"));
        let status = |status: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{date}");
        if fault == Some(Fault::Silent) {
            // Until the client goes away, at most.
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            let _ = stream.read(&mut [0; 1])?;
            return Ok(());
        }
        let nothing = |text: &str| format!("{}Content-Length: 0\r\n\r\n", status(text));
        if fault == Some(Fault::Unavailable) {
            return stream.write_all(nothing("503 Service Unavailable").as_bytes());
        }
        if let Some(Fault::Busy(seconds)) = fault {
            *self.fault.lock().expect("no thread panics") = None;
            let later = format!("503 Service Unavailable\r\nRetry-After: {seconds}");
            return stream.write_all(nothing(&later).as_bytes());
        }
        if fault == Some(Fault::Denied) {
            return stream.write_all(nothing("403 Forbidden").as_bytes());
        }
        let range = range.filter(|_| fault != Some(Fault::NoRanges));
        let Ok(whole) = fs::read(self.root.join(path)) else {
            return stream.write_all(nothing("404 Not Found").as_bytes());
        };
        let size = whole.len();
        if range.is_some_and(|(start, _)| start >= size) {
            return stream.write_all(nothing("416 Range Not Satisfiable").as_bytes());
        }
        let start = range.map_or(0, |(start, _)| start.min(size));
        let end = range.map_or(size, |(_, end)| (end + 1).min(size));
        let length = end - start;
        let mut body = whole[start..start + length].to_vec();
        match fault {
            Some(Fault::Flips) if length > 0 => body[length / 2] ^= 1,
            Some(Fault::Truncates) => body.truncate(length / 2),
            Some(Fault::Empty) => body.clear(),
            Some(Fault::WrongRange) if length > 0 => body.rotate_left(1),
            _ => {}
        }
        let mut head = match range {
            Some(_) => status("206 Partial Content"),
            None => status("200 OK"),
        };
        if range.is_some() {
            let first = end - length;
            let last = (first + body.len()).saturating_sub(1);
            head.push_str(&format!("Content-Range: bytes {first}-{last}/{size}\r\n"));
        }
        head.push_str("Last-Modified: Wed, 25 Nov 2026 12:00:00 GMT\r\n");
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes())?;
        match fault {
            Some(Fault::Drips) => body.chunks(1).try_for_each(|byte| {
                thread::sleep(Duration::from_millis(100));
                stream.write_all(byte)
            }),
            Some(Fault::Resets) => stream.write_all(&body[..body.len() / 2]),
            _ => stream.write_all(&body),
        }
    }
}
