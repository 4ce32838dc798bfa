//! How long things take. Not checks: run with
//! `cargo test --release -p node measure -- --ignored --nocapture --test-threads=1`.

use std::time::{Duration, Instant};

use super::*;

/// Something like an interpreter's image: many small files, some large ones.
fn tree() -> Layer {
    let mut layer = Layer::new();
    let mut state = 1_u64;
    let mut bytes = |length: usize| -> Vec<u8> {
        let next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Letters, so that it compresses as programs do.
            b"etaoin shrdlu{}();=\n0123"[(state >> 59) as usize % 24]
        };
        std::iter::repeat_with(next).take(length).collect()
    };
    for n in 0..8000 {
        let path = format!("usr/lib/p{}/m{}/f{n}.py", n % 40, n % 400);
        layer = layer.file(&path, 0o644, bytes(6000));
    }
    for n in 0..10 {
        layer = layer.file(&format!("usr/lib/big{n}.so"), 0o755, bytes(5_000_000));
    }
    layer
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).expect("below a second"),
    )
}

#[test]
#[ignore = "measures"]
fn measure_load() {
    let layer = tree();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let fixture = Fixture::new();
        let path = fixture.path("image.tar");
        let image = Builder::new(ImageConfig::default()).layer(layer.clone());
        image
            .compression(compression)
            .write_archive(&path, "big:v1")
            .expect("an image");
        let size = path.metadata().expect("a file").len();
        let (begin, cpu) = (Instant::now(), cpu_time());
        fixture.store.load(&path, None).expect("loads");
        let (elapsed, cpu) = (begin.elapsed(), cpu_time() - cpu);
        eprintln!(
            "{compression:?}: {} MB in {elapsed:?}, {cpu:?} CPU",
            size / 1_000_000
        );
        let begin = Instant::now();
        for _ in 0..1000 {
            assert!(fixture.get("big:v1").is_some());
        }
        eprintln!("{compression:?}: get {:?}", begin.elapsed() / 1000);
    }
}
