//! How a test bed is configured, and the users that every test bed has.

/// The user of [`TestBed::client`](super::TestBed::client). It is a member of `system:masters` and may do everything.
pub const ADMIN: &str = "admin";

/// The user of the test bed's own requests: at start, in [`TestBed::grant`](super::TestBed::grant), and by the
/// [`janitor`](crate::janitor). The audit log tells them apart from a test's requests by this name.
pub const TESTBED: &str = "gardener-testbed";

/// The configuration of a test bed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Users besides [`ADMIN`]. They may do nothing until [`TestBed::grant`](super::TestBed::grant).
    pub users: Vec<String>,
    /// The maximum size of etcd's database, in bytes. `None` means etcd's default of 2 GiB.
    pub etcd_quota_bytes: Option<u64>,
    /// More flags for kube-apiserver. If a flag occurs twice, the last one counts.
    pub apiserver_flags: Vec<String>,
    /// Whether the API server keeps an audit log for [`TestBed::audit`](super::TestBed::audit). `true` by default.
    pub audit: bool,
    /// Whether a [`janitor`](crate::janitor) stands in for kube-controller-manager. `true` by default.
    pub janitor: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { users: Vec::new(), etcd_quota_bytes: None, apiserver_flags: Vec::new(), audit: true, janitor: true }
    }
}
