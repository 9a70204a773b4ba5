//! Peak memory of this process, as the kernel counts it.

/// The largest resident set so far in bytes (`VmHWM` of proc(5)); `None` where there is no such file.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_peak_covers_what_was_just_allocated() {
        let block = std::hint::black_box(vec![1u8; 32 << 20]);
        assert!(super::peak_rss_bytes().unwrap() >= block.len() as u64);
    }
}
