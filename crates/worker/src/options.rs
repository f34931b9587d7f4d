//! Flags of this controller.

/// Flags of this controller.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Options {
    /// Keep Node objects in the API servers of awake Shoots, and report the Pods on them as running
    #[arg(long)]
    pub hollow_nodes: bool,
}
