//! Both journals against one suite, and against each other.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod memory {
    use std::sync::Arc;

    use tidegate_engine::journal::conformance::Subject;
    use tidegate_engine::journal::{Journal, MemoryJournal};

    struct Memory(MemoryJournal);

    impl Subject for Memory {
        fn journal(&self) -> Arc<dyn Journal> {
            Arc::new(self.0.clone())
        }

        fn reopen(&mut self) {
            self.0 = self.0.reopen();
        }
    }

    tidegate_engine::journal_conformance!(|| Memory(MemoryJournal::new()), super::block_on);
}

mod sqlite {
    use std::sync::Arc;

    use tempfile::TempDir;
    use tidegate_engine::journal::conformance::Subject;
    use tidegate_engine::journal::{Journal, SqliteJournal};

    struct Sqlite {
        directory: TempDir,
        journal: Option<SqliteJournal>,
    }

    impl Subject for Sqlite {
        fn journal(&self) -> Arc<dyn Journal> {
            Arc::new(self.journal.clone().unwrap())
        }

        fn reopen(&mut self) {
            self.journal = None;
            self.journal = Some(SqliteJournal::open(self.directory.path()).unwrap().0);
        }
    }

    fn new() -> Sqlite {
        let directory = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(directory.path()).unwrap().0;
        Sqlite { directory, journal: Some(journal) }
    }

    tidegate_engine::journal_conformance!(new, super::block_on);
}

mod both {
    use fastrand::Rng;
    use tidegate_engine::journal::conformance::{event, first_append};
    use tidegate_engine::journal::{
        Append, Digest, Filter, History as _, Journal as _, MemoryJournal, Request, SqliteJournal, Standing,
    };

    /// An append that is sometimes good, sometimes from an old picture, of a few deployments of few services.
    fn dice(rng: &mut Rng, journal: &MemoryJournal) -> Append {
        let id = format!("d{}", rng.u8(..12));
        let known = super::block_on(journal.deployment(&id)).unwrap();
        let mut append = first_append(&id, journal.epoch());
        append.expected_seq = known.as_ref().map_or(0, |kept| kept.seq);
        append.row.service = format!("s{}", rng.u8(..3));
        append.row.turn = rng.u64(1..8);
        if let Some(kept) = known.filter(|_| rng.u8(..10) > 0) {
            append.row = kept.row;
        }
        append.row.standing = rng.choice([Standing::Queued, Standing::Running, Standing::Ended]).unwrap();
        append.events = (0..rng.usize(1..4)).map(|n| event("e", &format!("{n}{}", rng.u64(..)))).collect();
        match rng.u8(..10) {
            0 => append.expected_seq += 1,
            1 => append.epoch.0 -= 1,
            2..=4 => {
                let digest = Digest([rng.u8(..2); 32]);
                append.request = Some(Request { key: format!("k{}", rng.u8(..5)), digest });
            }
            _ => {}
        }
        append
    }

    #[test]
    fn give_the_same_answers_to_the_same_random_appends() {
        for seed in 0..12 {
            let mut rng = Rng::with_seed(seed);
            let directory = tempfile::tempdir().unwrap();
            let (mut disk, _) = SqliteJournal::open(directory.path()).unwrap();
            let mut memory = MemoryJournal::new();
            for step in 0..60 {
                if rng.u8(..20) == 0 {
                    drop(disk);
                    disk = SqliteJournal::open(directory.path()).unwrap().0;
                    memory = memory.reopen();
                }
                let append = dice(&mut rng, &memory);
                let wanted = super::block_on(memory.append(append.clone()));
                let got = super::block_on(disk.append(append.clone()));
                assert_eq!(got, wanted, "seed {seed}, step {step}: {append:?}");
            }
            super::block_on(async {
                assert_eq!(disk.feed(0, 1_000).await, memory.feed(0, 1_000).await);
                assert_eq!(
                    disk.deployments(Filter::default()).await,
                    memory.deployments(Filter::default()).await
                );
                assert_eq!(disk.active().await, memory.active().await);
                assert_eq!(disk.verify_all().await, Ok(Vec::new()));
                assert_eq!(memory.verify_all().await, Ok(Vec::new()));
            });
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
