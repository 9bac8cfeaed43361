//! The proxies that are compared: processes on loopback ports, with what they have used.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::pass_through;

/// A process that passes requests on. Dropped, it is killed.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    process: Child,
    /// Where its files are, if it has any.
    folder: Option<PathBuf>,
}

/// `unbroken proxy`, of the same profile.
pub(crate) fn unbroken(upstream: SocketAddr) -> Contestant {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unbroken"));
    command.args(["proxy", "--listen", "127.0.0.1:0", "--upstream"]);
    told("unbroken", command.arg(format!("http://{upstream}")))
}

/// This program again, as the bare pass-through.
pub(crate) fn hyper(upstream: SocketAddr) -> Contestant {
    let mut command = Command::new(std::env::current_exe().unwrap());
    told("hyper", command.args([pass_through::NAME, &upstream.to_string()]))
}

/// nginx with one worker, unless it is not installed.
pub(crate) fn nginx(upstream: SocketAddr) -> Option<Contestant> {
    let Some(program) = PROGRAMS.iter().find(|program| Path::new(program).exists()) else {
        println!("skipped: nginx is not installed, and left out of the comparison");
        return None;
    };
    let folder = std::env::temp_dir().join(format!("unbroken-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    // It takes no port 0. Nobody else on this machine is likely to get the one that was free just now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fs::write(folder.join("nginx.conf"), configuration(upstream, address)).unwrap();
    let mut command = Command::new(program);
    command.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "error.log"]);
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let contestant = Contestant { name: "nginx", address, process, folder: Some(folder) };
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return Some(contestant);
        }
        thread::sleep(Duration::from_millis(10));
    }
    println!("skipped: nginx does not start here, and is left out of the comparison");
    None
}

/// One that prints its port.
fn told(name: &'static str, command: &mut Command) -> Contestant {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], line.trim().parse().unwrap()));
    Contestant { name, address, process, folder: None }
}

impl Contestant {
    /// Processor time so far, of all its threads; none where Linux's `/proc` is not there.
    pub(crate) fn processor(&self) -> Option<Duration> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).ok()?;
        let used = threads.map(|thread| {
            let used = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            used.split(' ').next()?.parse::<u64>().ok()
        });
        used.sum::<Option<u64>>().map(Duration::from_nanos)
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Everything in one process, all files in its own folder, connections to the upstream kept.
fn configuration(upstream: SocketAddr, address: SocketAddr) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {name};\n"));
    format!(
        "daemon off;
        master_process off;
        pid nginx.pid;
        events {{ worker_connections 1024; }}
        http {{
            access_log off;
            {}
            upstream streams {{ server {upstream}; keepalive 64; }}
            server {{
                listen {address};
                location / {{
                    proxy_pass http://streams;
                    proxy_http_version 1.1;
                    proxy_set_header Connection \"\";
                    proxy_buffering off;
                }}
            }}
        }}",
        temporary.concat()
    )
}

/// Where Debian and others put it.
const PROGRAMS: [&str; 3] = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
