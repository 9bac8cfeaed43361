//! The container of the proxy is built from what its `Dockerfile` copies, which `Cargo.toml` has to be content with.

use std::collections::BTreeSet;
use std::fs;

use super::{manifest, root};

fn lines(path: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(path)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Files and folders at the top that cargo looks for: it stops at a target that is not there, built or not.
fn named() -> BTreeSet<String> {
    let manifest = manifest();
    let mut named: BTreeSet<String> = ["Cargo.toml", "Cargo.lock", "src"].map(str::to_owned).into();
    named.insert(manifest["package"]["readme"].as_str().unwrap().to_owned());
    for (kind, folder) in
        [("bin", "src"), ("bench", "benches"), ("example", "examples"), ("test", "tests")]
    {
        for target in manifest.get(kind).and_then(toml::Value::as_array).into_iter().flatten() {
            let path = target.get("path").and_then(toml::Value::as_str).unwrap_or(folder);
            named.insert(path.split('/').next().unwrap().to_owned());
        }
    }
    named
}

#[test]
fn the_dockerfile_copies_all_that_the_manifest_names() {
    let copies = lines("examples/proxy/Dockerfile");
    let copies = copies.iter().filter_map(|line| line.strip_prefix("COPY "));
    let copied: BTreeSet<String> = copies
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| line.rsplit_once(' ').unwrap().0.split(' ').map(str::to_owned))
        .collect();
    assert_eq!(copied, named(), "examples/proxy/Dockerfile");
    let sent = lines("examples/proxy/Dockerfile.dockerignore");
    let sent = sent.iter().filter_map(|line| line.strip_prefix('!').map(str::to_owned));
    assert_eq!(sent.collect::<BTreeSet<_>>(), copied, "examples/proxy/Dockerfile.dockerignore");
}
