//! A revision of a git repository, checked out: what `git init`, `git fetch --depth=1`,
//! `git reset --hard` and `git submodule update --init` would leave behind.
//!
//! A branch, a tag, a full reference or a commit is fetched alone; anything else (a short hash,
//! `main~2`) costs the whole history.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gix::bstr::{BStr, BString, ByteSlice};
use gix::credentials::{helper, protocol};
use gix::protocol::transport::client::blocking_io::{Transport, connect};
use gix::remote::Direction;
use gix::remote::fetch::{Shallow, Tags};
use gix::{ObjectId, Repository, Url};

use crate::credentials::Store;
use crate::error::{Error, shown};
use crate::{Say, ssh, submodules};

/// Git's own lookup order for a name that is not a full reference.
const RULES: [&str; 4] = ["", "refs/", "refs/tags/", "refs/heads/"];
/// The branch of a fresh repository, moved to what was fetched.
const BRANCH: &str = "refs/heads/master";

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Source {
    /// `https://`, `http://`, `ssh://`, `USER@HOST:PATH`, `git://`, `file://` or a path.
    pub url: String,
    /// Branch, tag, reference or commit; empty is the remote's HEAD.
    pub revision: String,
    /// Where the work tree goes; made if need be, may hold other files.
    pub directory: PathBuf,
    /// Where credentials are.
    pub home: PathBuf,
}

/// Fetches and checks out. Gives the commit's hash.
///
/// # Errors
/// The repository cannot be reached or opened with the credentials at hand, has no such revision,
/// or the directory cannot be written.
pub fn fetch(source: &Source, say: Say<'_>) -> Result<String, Error> {
    fetch_at(source, 0, say)
}

/// The same for a submodule `depth` levels down.
pub(crate) fn fetch_at(source: &Source, depth: usize, say: Say<'_>) -> Result<String, Error> {
    let url = parse(&source.url)?;
    let repo = init(source)?;
    let commit = match url.scheme {
        gix::url::Scheme::File => local(&repo, source, &url)?,
        _ => remote(&repo, source, &url)?,
    };
    check_out(&repo, commit).map_err(Error::git("check out", &source.url))?;
    submodules::fetch_all(&repo, source, depth, say)?;
    Ok(commit.to_string())
}

pub(crate) fn parse(url: &str) -> Result<Url, Error> {
    gix::url::parse(BStr::new(url)).map_err(|error| Error::Location {
        location: shown(url),
        why: format!("no URL of a git repository: {error}"),
    })
}

/// A repository that reads no configuration but its own: nobody's aliases, filters or helpers.
fn isolated() -> gix::open::Options {
    gix::open::Options::isolated().config_overrides([
        "gitoxide.committer.nameFallback=rekindle",
        "gitoxide.committer.emailFallback=rekindle@localhost",
    ])
}

fn init(source: &Source) -> Result<Repository, Error> {
    let options = gix::create::Options {
        destination_must_be_empty: Some(false),
        ..gix::create::Options::default()
    };
    let kind = gix::create::Kind::WithWorktree;
    let directory = &source.directory;
    std::fs::create_dir_all(directory).map_err(Error::file("make", directory))?;
    gix::ThreadSafeRepository::init_opts(directory, kind, options, isolated())
        .map(|repo| repo.to_thread_local())
        .map_err(Error::git("prepare a repository for", &source.url))
}

/// A repository on this machine: its objects are copied, as `git clone` does.
fn local(repo: &Repository, source: &Source, url: &Url) -> Result<ObjectId, Error> {
    let path = gix::path::from_bstr(url.path.as_bstr());
    let open = path.and_then(|path| gix::open_opts(path.as_ref(), isolated()));
    let from = open.map_err(Error::git("open", &source.url))?;
    let objects = from.common_dir().join("objects");
    copy_tree(&objects, &repo.git_dir().join("objects"))?;
    let shallow = from.common_dir().join("shallow");
    if shallow.exists() {
        let to = repo.git_dir().join("shallow");
        std::fs::copy(&shallow, &to).map_err(Error::file("copy to", &to))?;
    }
    resolve(&from, source)
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to).map_err(Error::file("make", to))?;
    for entry in std::fs::read_dir(from).map_err(Error::file("list", from))? {
        let path = entry.map_err(Error::file("list", from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_tree(&path, &target)?;
        } else if !target.exists() {
            std::fs::copy(&path, &target).map_err(Error::file("copy to", &target))?;
        }
    }
    Ok(())
}

/// The commit a revision names in a repository that has everything.
fn resolve(repo: &Repository, source: &Source) -> Result<ObjectId, Error> {
    let name = match source.revision.as_str() {
        "" => "HEAD",
        name => name,
    };
    let remote_branch = format!("refs/remotes/origin/{name}");
    let found = [name, remote_branch.as_str()]
        .into_iter()
        .find_map(|name| repo.rev_parse_single(name).ok());
    let commit = found.and_then(|id| id.object().ok()?.peel_to_commit().ok());
    commit
        .map(|commit| commit.id)
        .ok_or_else(|| missing(source))
}

fn missing(source: &Source) -> Error {
    Error::Revision {
        url: shown(&source.url),
        revision: source.revision.clone(),
    }
}

fn remote(repo: &Repository, source: &Source, url: &Url) -> Result<ObjectId, Error> {
    let name = match source.revision.as_str() {
        "" => "HEAD",
        name => name,
    };
    let alone = [name.to_owned()];
    match receive(repo, source, url, &alone, Shallow::DepthAtRemote(ONE)) {
        Ok(refs) => {
            if let Some(commit) = chosen(repo, name, &refs) {
                return Ok(commit);
            }
        }
        // Some servers give no commit that is no tip. Anything else would fail again.
        Err(Failure::Git(_)) if is_hash(name) => {}
        Err(Failure::NoRef) => {}
        Err(failure) => return Err(failure.into_error(source)),
    }
    let all = [
        "+refs/heads/*:refs/remotes/origin/*",
        "+refs/tags/*:refs/tags/*",
    ];
    let all = all.map(str::to_owned);
    receive(repo, source, url, &all, Shallow::NoChange)
        .map_err(|failure| failure.into_error(source))?;
    resolve(repo, source)
}

const ONE: std::num::NonZeroU32 = std::num::NonZeroU32::MIN;

fn is_hash(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

enum Failure {
    /// The server has nothing of that name.
    NoRef,
    /// There is no connection.
    Ssh(Error),
    Git(gix::Error),
}

impl Failure {
    fn into_error(self, source: &Source) -> Error {
        match self {
            Self::NoRef => missing(source),
            Self::Ssh(error) => error,
            Self::Git(error) => Error::git("fetch", &source.url)(error),
        }
    }
}

impl From<gix::Error> for Failure {
    fn from(error: gix::Error) -> Self {
        Self::Git(error)
    }
}

/// What came: names (empty for a bare commit) and hashes.
type Refs = Vec<(BString, ObjectId)>;

/// One conversation with the server: the objects behind `specs` are here when it is over.
fn receive(
    repo: &Repository,
    source: &Source,
    url: &Url,
    specs: &[String],
    shallow: Shallow,
) -> Result<Refs, Failure> {
    let specs = specs.iter().map(String::as_str);
    let remote = repo
        .remote_at(url.clone())?
        .with_fetch_tags(Tags::None)
        .with_refspecs(specs, Direction::Fetch)
        .map_err(|_| Failure::NoRef)?;
    let store = Store::read(&source.home);
    let mut connection = remote.to_connection_with_transport(transport(&remote, source)?);
    connection.set_credentials(move |action| Ok(answer(&store, action)));
    let options = gix::remote::ref_map::Options::default();
    let pending = connection.prepare_fetch(gix::progress::Discard, options)?;
    let refs: Refs = pending
        .ref_map()
        .mappings
        .iter()
        .filter_map(|mapping| {
            let name = mapping.remote.as_name().unwrap_or_default();
            Some((name.to_owned(), mapping.remote.as_id()?.to_owned()))
        })
        .collect();
    if refs.is_empty() {
        return Err(Failure::NoRef);
    }
    pending
        .with_shallow(shallow)
        .receive(gix::progress::Discard, &AtomicBool::new(false))?;
    Ok(refs)
}

fn transport(
    remote: &gix::Remote<'_>,
    source: &Source,
) -> Result<Box<dyn Transport + Send>, Failure> {
    let (url, version) = remote.sanitized_url_and_version(Direction::Fetch)?;
    if url.scheme == gix::url::Scheme::Ssh {
        return ssh::connect(&url, version, &source.home).map_err(Failure::Ssh);
    }
    let options = connect::Options {
        version,
        ..connect::Options::default()
    };
    Ok(connect::connect(url, options)?)
}

/// Which of the references that came is meant, peeled to its commit.
fn chosen(repo: &Repository, name: &str, refs: &Refs) -> Option<ObjectId> {
    let by_rule = RULES.iter().find_map(|prefix| {
        let full = format!("{prefix}{name}");
        refs.iter().find(|(have, _)| *have == full.as_str())
    });
    let (_, id) = by_rule.or_else(|| refs.first())?;
    let object = repo.find_object(*id).ok()?;
    object.peel_to_commit().ok().map(|commit| commit.id)
}

/// Git's questions for credentials. Nothing is ever stored, and a refused password is not asked
/// for again.
fn answer(store: &Store, action: helper::Action) -> Option<protocol::Outcome> {
    let helper::Action::Get(context) = action else {
        return None;
    };
    let url = context.url.clone().map(|url| url.to_string());
    let url = url.or_else(|| {
        let path = context.path.as_ref().map(ToString::to_string);
        let (protocol, host) = (context.protocol.clone()?, context.host.clone()?);
        Some(format!("{protocol}://{host}/{}", path.unwrap_or_default()))
    })?;
    let (username, password) = store.find(&url)?;
    Some(protocol::Outcome {
        identity: gix::sec::identity::Account {
            username,
            password,
            oauth_refresh_token: None,
        },
        next: context.into(),
    })
}

/// Writes the commit's files and points the repository at it.
fn check_out(repo: &Repository, commit: ObjectId) -> Result<(), gix::Error> {
    use gix::refs::transaction::PreviousValue;
    let head = repo.head_name()?;
    let branch = head.map_or_else(|| BRANCH.into(), |name| name.as_bstr().to_string());
    repo.reference(branch.as_str(), commit, PreviousValue::Any, "fetch")?;
    let tree = repo.find_object(commit)?.peel_to_tree()?.id;
    let mut index = repo.index_from_tree(&tree)?;
    let attributes = gix::worktree::stack::state::attributes::Source::IdMapping;
    let options = gix::worktree::state::checkout::Options {
        overwrite_existing: true,
        ..repo.checkout_options(attributes)?
    };
    let directory = repo.workdir().unwrap_or_else(|| repo.git_dir());
    gix::worktree::state::checkout(
        &mut index,
        directory,
        repo.objects
            .clone()
            .into_arc()
            .map_err(gix::Error::from_error)?,
        &gix::progress::Discard,
        &gix::progress::Discard,
        &AtomicBool::new(false),
        options,
    )?;
    index.write(gix::index::write::Options::default())?;
    Ok(())
}
