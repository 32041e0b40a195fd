//! Two hundred SIGKILLs at random moments, some of them during recovery. `DIL_KILL_SEED` repeats a sequence.

use std::time::{Duration, Instant};

use dil_testkit::oracle::Settings;
use dil_testkit::process::Signal;
use dil_testkit::seeded::Seeded;
use serde_json::Value;

use crate::lake;
use crate::scene::{Scene, TwoStage};

const KILLS: usize = 100;

fn seed() -> u64 {
    let given = std::env::var("DIL_KILL_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |since| since.subsec_nanos().into())
    })
}

/// The first of the month that comes so many after January 2024.
fn month(number: u64) -> String {
    format!("{}-{:02}-01", 2024 + number / 12, number % 12 + 1)
}

/// Kills `dil` again and again, while the source grows by a month whenever a run got through.
fn kill_again_and_again(options: &[&str], flow: &TwoStage<'_>, late: bool) {
    let seed = seed();
    println!("DIL_KILL_SEED={seed}");
    let mut random = Seeded::new(seed);
    let scene = Scene::with(Settings { latency: Duration::from_millis(1), ..Settings::default() });
    scene.write_flow(flow);
    let mut months = 0;
    let mut grow = |scene: &Scene, random: &mut Seeded| {
        if months == 0 || random.below(6) == 0 {
            scene.oracle.add_site("active");
        }
        months += 1;
        for site in 1..=2 {
            if scene.oracle.has_site(site) {
                scene.oracle.add_events(site, &month(months - 1), &month(months), 4);
                if late && months > 1 {
                    scene.oracle.add_event(site, &format!("{}-20", &month(months - 2)[..7]), Value::Null);
                }
            }
        }
        month(months)
    };
    let mut to = grow(&scene, &mut random);
    let begin = Instant::now();
    scene.run(&to, options).succeeded();
    let longest = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX).clamp(1_000, 2_000_000);
    to = grow(&scene, &mut random);
    let mut kills = 0;
    while kills < KILLS {
        let mut running = scene.start(&to, options);
        std::thread::sleep(Duration::from_micros(random.below(longest)));
        if running.has_ended() {
            running.wait().succeeded();
            assert_eq!(lake::ids(&scene.lake()), scene.oracle.ids_between("2024-01-01", &to), "seed {seed}");
            to = grow(&scene, &mut random);
            continue;
        }
        running.signal(Signal::KILL);
        let finished = running.wait();
        if finished.was_killed() {
            kills += 1;
        } else {
            assert_eq!(finished.code, Some(0), "seed {seed}\n{finished}");
        }
        // Whatever is visible is whole; where nothing is swapped, no row is there twice even now.
        let ids = lake::ids(&scene.lake());
        assert!(
            late || ids.windows(2).all(|pair| pair[0] < pair[1]),
            "seed {seed}: a row is visible twice: {ids:?}"
        );
    }
    scene.run(&to, options).succeeded();
    scene.assert_exactly_once(&to);
}

#[test]
fn a_hundred_random_kills_lose_and_double_nothing() {
    kill_again_and_again(&[], &TwoStage::default(), false);
}

#[test]
fn a_hundred_random_kills_with_workers_and_late_rows_lose_and_double_nothing() {
    kill_again_and_again(
        &["--workers", "2"],
        &TwoStage { time: ", grace: 70d", ..TwoStage::default() },
        true,
    );
}
