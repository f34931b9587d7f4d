//! DNS: stands for `CoreDNS` with its `kubernetes` plugin. Answers for Services and for the host names of their endpoints;
//! every other name does not exist. Leaves out IPv6, SRV and PTR records, and forwarding to other servers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::endpoints::Endpoints;
use crate::error::Error;
use crate::player::Seed;

/// How long clients may keep an answer, in seconds.
const TTL: u32 = 5;

/// The domain of the cluster.
const DOMAIN: &str = ".svc.cluster.local";

/// Listens at the address of the cluster's DNS. Returns what answers for ever.
pub(crate) async fn serve(seed: &Seed, endpoints: Endpoints) -> Result<impl Future<Output = ()> + use<>, Error> {
    let address = SocketAddr::from((seed.args.dns(), 53));
    let failed = || Error::io("listen for DNS on", address);
    let datagrams = UdpSocket::bind(address).await.map_err(failed())?;
    let streams = TcpListener::bind(address).await.map_err(failed())?;
    let endpoints = Arc::new(endpoints);
    Ok(async move {
        tokio::join!(serve_datagrams(datagrams, endpoints.clone()), serve_streams(streams, endpoints));
    })
}

async fn serve_datagrams(socket: UdpSocket, endpoints: Arc<Endpoints>) {
    let mut buffer = [0; 4096];
    loop {
        // An error tells of an earlier answer that did not arrive.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let answer = buffer.get(..length).and_then(|query| answer(query, |name| resolve(&endpoints, name)));
        if let Some(answer) = answer {
            // The client asks again if the answer is lost.
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

async fn serve_streams(listener: TcpListener, endpoints: Arc<Endpoints>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve_stream(stream, endpoints.clone()));
    }
}

/// Answers the queries of one connection. Each has its length in front.
async fn serve_stream(mut stream: TcpStream, endpoints: Arc<Endpoints>) -> Option<()> {
    loop {
        let mut query = vec![0; stream.read_u16().await.ok()?.into()];
        stream.read_exact(&mut query).await.ok()?;
        let answer = answer(&query, |name| resolve(&endpoints, name))?;
        stream.write_u16(answer.len().try_into().ok()?).await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}

/// The answer to a query. Returns `None` if the query cannot be read.
fn answer(query: &[u8], resolve: impl Fn(&str) -> Option<Vec<Ipv4Addr>>) -> Option<Vec<u8>> {
    let query = Packet::parse(query).ok()?;
    let mut reply = query.clone().into_reply();
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    // EDNS of the query asks for nothing that is served.
    reply.additional_records.clear();
    for question in &query.questions {
        let Some(addresses) = resolve(&question.qname.to_string()) else {
            *reply.rcode_mut() = RCODE::NameError;
            continue;
        };
        if !matches!(question.qtype, QTYPE::TYPE(TYPE::A) | QTYPE::ANY) {
            continue;
        }
        for address in addresses {
            let data = RData::A(A { address: address.to_bits() });
            reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data));
        }
    }
    reply.build_bytes_vec().ok()
}

/// The addresses of a name, or `None` if the name does not exist.
fn resolve(endpoints: &Endpoints, name: &str) -> Option<Vec<Ipv4Addr>> {
    let name = name.trim_end_matches('.').to_lowercase();
    // Resolvers try each search domain; short names of Services come without.
    let name = name.strip_suffix(DOMAIN).or_else(|| name.strip_suffix(".svc")).unwrap_or(&name);
    let (host, service, namespace) = match name.split('.').collect::<Vec<_>>()[..] {
        [service, namespace] => (None, service, namespace),
        [host, service, namespace] => (Some(host), service, namespace),
        _ => return None,
    };
    let address = endpoints.service(namespace, service)?.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok();
    match (host, address) {
        (None, Some(address)) => Some(vec![address]),
        // Only a Service without an address of its own answers with those of its endpoints.
        _ => Some(endpoints.addresses(namespace, service, host)).filter(|addresses| !addresses.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use simple_dns::{Name, QCLASS, Question};

    use super::*;
    use crate::endpoints::tests::endpoints;

    fn cluster() -> Endpoints {
        let service = |name: &str, address: &str| json!({ "metadata": { "namespace": "n", "name": name }, "spec": { "clusterIP": address } });
        let slice = json!({
            "metadata": { "namespace": "n", "name": "h-1", "labels": { "kubernetes.io/service-name": "headless" } },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.243.0.3"], "hostname": "h-0" }, { "addresses": ["10.243.0.4"] }],
        });
        endpoints(&[service("s", "10.97.0.7"), service("headless", "None"), service("empty", "None")], &[slice])
    }

    #[test]
    fn names_of_services_and_endpoints_are_resolved() {
        let cluster = cluster();
        let address = |text: &str| Some(text.split(' ').map(|address| address.parse().unwrap()).collect::<Vec<_>>());
        let cases = [
            ("s.n", address("10.97.0.7")),
            ("S.n.svc", address("10.97.0.7")),
            ("s.n.svc.cluster.local.", address("10.97.0.7")),
            ("headless.n.svc.cluster.local", address("10.243.0.3 10.243.0.4")),
            ("h-0.headless.n.svc.cluster.local", address("10.243.0.3")),
            ("h-1.headless.n.svc.cluster.local", None),
            ("empty.n.svc.cluster.local", None),
            ("s.other.svc.cluster.local", None),
            ("s", None),
            ("api.example.com", None),
            ("s.n.svc.cluster.local.n.svc.cluster.local", None),
        ];
        for (name, expected) in cases {
            assert_eq!(resolve(&cluster, name), expected, "{name}");
        }
    }

    fn ask(name: &str, kind: TYPE) -> (RCODE, usize) {
        let mut query = Packet::new_query(7);
        let question = Question::new(Name::new(name).unwrap(), QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false);
        query.questions.push(question);
        let cluster = cluster();
        let bytes = answer(&query.build_bytes_vec().unwrap(), |name| resolve(&cluster, name)).unwrap();
        let reply = Packet::parse(&bytes).unwrap();
        assert_eq!((reply.id(), reply.questions.len()), (7, 1));
        (reply.rcode(), reply.answers.len())
    }

    #[test]
    fn unknown_name_does_not_exist() {
        assert_eq!(ask("s.n.svc.cluster.local", TYPE::A), (RCODE::NoError, 1));
        assert_eq!(ask("x.n.svc.cluster.local", TYPE::A), (RCODE::NameError, 0));
    }

    #[test]
    fn name_without_record_of_the_type_exists_and_has_no_answer() {
        assert_eq!(ask("s.n.svc.cluster.local", TYPE::AAAA), (RCODE::NoError, 0));
    }

    #[test]
    fn query_that_cannot_be_read_has_no_answer() {
        assert_eq!(answer(&[1, 2, 3], |_| None), None);
    }
}
