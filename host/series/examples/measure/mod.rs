//! What the benchmarks of series measure of the machine.

use std::path::Path;

/// Bytes that a folder takes on the disk.
pub(crate) fn bytes(folder: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt as _;
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() as f64 * 512.0,
        Err(_) => 0.0,
    };
    std::fs::read_dir(folder).map_or(0.0, |entries| entries.flatten().map(of).sum())
}

/// Bytes of memory this process holds.
pub(crate) fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().split(' ').next().and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}
