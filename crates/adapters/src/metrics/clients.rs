//! The clients that a metric asks with, kept from one question to the next.

use std::collections::BTreeMap;

/// Clients by whom they ask. Making one reads the machine's authorities, and a kept one keeps its connections. A client is
/// taken for a question and put back after a good answer only: what failed is made anew, with certificates as they are then.
/// There are never more than whoever was asked last.
#[derive(Debug)]
pub(super) struct Clients<C>(BTreeMap<String, C>);

impl<C> Default for Clients<C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C> Clients<C> {
    /// The kept client, or a new one.
    pub(super) fn take<E>(&mut self, whom: &str, make: impl FnOnce() -> Result<C, E>) -> Result<C, E> {
        self.0.remove(whom).map_or_else(make, Ok)
    }

    /// Keeps a client for the next question.
    pub(super) fn keep(&mut self, whom: &str, client: C) {
        self.0.insert(whom.to_owned(), client);
    }

    /// Lets go of those whom nobody asks any more.
    pub(super) fn retain(&mut self, asked: impl Fn(&str) -> bool) {
        self.0.retain(|whom, _| asked(whom));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tidegate_core::{
        deployment::table,
        gate::MetricAnswer,
        judge::Metric,
        model::{Millis, Timestamp},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::mpsc,
    };

    use super::super::{EndpointSpec, InstanceAddress, Instances, MetricSpec, Question, ask::Asker};

    /// A server over kept connections; its third answer is that it is broken.
    struct Source {
        address: String,
        connections: Arc<AtomicUsize>,
        /// A word for each connection that the other side closed.
        closed: mpsc::UnboundedReceiver<()>,
    }

    impl Source {
        async fn open(body: &'static str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let (connections, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (closing, closed) = mpsc::unbounded_channel();
            let counted = Arc::clone(&connections);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    counted.fetch_add(1, Relaxed);
                    let (asked, closing) = (Arc::clone(&asked), closing.clone());
                    tokio::spawn(async move {
                        converse(stream, body, &asked).await;
                        closing.send(())
                    });
                }
            });
            Self { address, connections, closed }
        }
    }

    async fn converse(mut stream: TcpStream, body: &str, asked: &AtomicUsize) {
        let mut request = [0; 4_096];
        while stream.read(&mut request).await.is_ok_and(|count| count > 0) {
            let status = if asked.fetch_add(1, Relaxed) == 2 { "500 Broken" } else { "200 OK" };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn asker(spec: &MetricSpec) -> Asker {
        let metric = Metric {
            name: "queue".to_owned(),
            source: "test".to_owned(),
            query: serde_json::to_string(spec).unwrap(),
            every: Millis::secs(1),
            fresh: Millis::secs(5),
        };
        Asker::new(&table::sample_plan(), &metric, Timestamp(1_000_000))
    }

    #[tokio::test]
    async fn a_source_is_asked_over_one_connection_until_it_fails() {
        let source = Source::open("{\"depth\": 3}").await;
        let endpoint = EndpointSpec {
            url: format!("http://{}/", source.address),
            within_ms: 5_000,
            ..EndpointSpec::default()
        };
        let mut asker = asker(&MetricSpec::Web { endpoint, post: None, path: "$.depth".to_owned() });
        let mut seen = Vec::new();
        for _ in 0..5 {
            let answer = asker.ask(&Instances::default(), Timestamp(1_000_000)).await;
            let good = matches!(answer, MetricAnswer::Values { .. });
            seen.push((good, source.connections.load(Relaxed)));
        }
        assert_eq!(seen, [(true, 1), (true, 1), (false, 1), (true, 2), (true, 2)]);
    }

    #[tokio::test]
    async fn an_instance_that_left_is_let_go() {
        let (stays, mut leaves) = (Source::open("depth 3\n").await, Source::open("depth 4\n").await);
        let instance =
            |source: &Source| InstanceAddress { id: source.address.clone(), address: source.address.clone() };
        let ask = Question::Value { query: "depth".to_owned() };
        let mut asker = asker(&MetricSpec::Scrape { path: "/metrics".to_owned(), ask });
        let both = Instances { new: vec![instance(&stays), instance(&leaves)], ..Instances::default() };
        let one = Instances { new: vec![instance(&stays)], ..Instances::default() };
        for instances in [&both, &one] {
            let answer = asker.ask(instances, Timestamp(1_000_000)).await;
            assert!(matches!(answer, MetricAnswer::Values { .. }), "{answer:?}");
        }
        leaves.closed.recv().await.unwrap();
        assert_eq!((stays.connections.load(Relaxed), leaves.connections.load(Relaxed)), (1, 1));
    }
}
