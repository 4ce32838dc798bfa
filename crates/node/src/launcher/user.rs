//! Who a process runs as: the Pod's numbers, the image's `USER` and the container's own
//! `/etc/passwd` and `/etc/group`. Called inside the container's root just before exec.

use super::User;

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// User number.
    pub uid: u32,
    /// Primary group number.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory, where `/etc/passwd` knows the user.
    pub home: Option<String>,
}

/// Resolves `user` against the text of the container's `/etc/passwd` and `/etc/group`. The error
/// names what is not in there.
pub(crate) fn resolve(user: &User, passwd: &str, group: &str) -> Result<Identity, String> {
    let (image_user, image_group) = match user.image.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user.image.as_str(), None),
    };
    let entry = match user.uid {
        Some(uid) => by_uid(passwd, uid),
        None if image_user.is_empty() => by_uid(passwd, 0),
        None => find_user(passwd, image_user)?,
    };
    let gid = match (user.gid, image_group) {
        (Some(gid), _) => gid,
        (None, Some(name)) if user.uid.is_none() && !name.is_empty() => find_group(group, name)?,
        _ => entry.gid,
    };
    let mut groups = match &entry.name {
        Some(name) => memberships(group, name),
        None => Vec::new(),
    };
    groups.extend(&user.groups);
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity {
        uid: entry.uid,
        gid,
        groups,
        home: entry.home,
    })
}

struct Entry {
    name: Option<String>,
    uid: u32,
    gid: u32,
    home: Option<String>,
}

fn entries(passwd: &str) -> impl Iterator<Item = Entry> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields
            .nth(1)
            .filter(|home| !home.is_empty())
            .map(str::to_owned);
        Some(Entry {
            name: Some(name),
            uid,
            gid,
            home,
        })
    })
}

fn by_uid(passwd: &str, uid: u32) -> Entry {
    let unknown = Entry {
        name: None,
        uid,
        gid: 0,
        home: None,
    };
    entries(passwd)
        .find(|entry| entry.uid == uid)
        .unwrap_or(unknown)
}

fn find_user(passwd: &str, name: &str) -> Result<Entry, String> {
    if let Some(entry) = entries(passwd).find(|entry| entry.name.as_deref() == Some(name)) {
        return Ok(entry);
    }
    match name.parse() {
        Ok(uid) => Ok(by_uid(passwd, uid)),
        Err(_) => Err(format!(
            "unable to find user {name}: no matching entries in passwd file"
        )),
    }
}

fn find_group(groups: &str, name: &str) -> Result<u32, String> {
    let named = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    });
    named
        .or_else(|| name.parse().ok())
        .ok_or_else(|| format!("unable to find group {name}: no matching entries in group file"))
}

fn memberships(groups: &str, user: &str) -> Vec<u32> {
    let of_line = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        fields
            .next()?
            .split(',')
            .any(|member| member == user)
            .then_some(gid)
    };
    groups.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:100:101:An app:/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:root,app\napp:x:101:\n";

    fn check(image: &str, uid: Option<u32>, gid: Option<u32>, want: Result<&str, &str>) {
        let user = User {
            image: image.to_owned(),
            uid,
            gid,
            groups: Vec::new(),
        };
        let got = resolve(&user, PASSWD, GROUP)
            .map(|id| format!("{} {} {:?} {:?}", id.uid, id.gid, id.groups, id.home));
        assert_eq!(got.as_deref().map_err(String::as_str), want);
    }

    #[test]
    fn pod_over_image_over_root() {
        check("", None, None, Ok(r#"0 0 [0, 4] Some("/root")"#));
        check(
            "app",
            None,
            None,
            Ok(r#"100 101 [4, 101] Some("/home/app")"#),
        );
        check("app:adm", None, None, Ok(r#"100 4 [4] Some("/home/app")"#));
        check(
            "100",
            None,
            None,
            Ok(r#"100 101 [4, 101] Some("/home/app")"#),
        );
        check("65532:65533", None, None, Ok("65532 65533 [65533] None"));
        check("app", Some(7), None, Ok("7 0 [0] None"));
        check(
            "app:adm",
            Some(100),
            Some(9),
            Ok(r#"100 9 [4, 9] Some("/home/app")"#),
        );
        let no_user = "unable to find user bob: no matching entries in passwd file";
        check("bob", None, None, Err(no_user));
        let no_group = "unable to find group staff: no matching entries in group file";
        check("app:staff", None, None, Err(no_group));
    }
}
