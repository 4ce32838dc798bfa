//! `.dockerignore`: which files of the context a build does not see.
//!
//! The rules are Docker's (`moby/patternmatcher`): one pattern a line, `#` comments, `!` takes back,
//! the last pattern that matches decides, `**` is any number of directories, and what is below an
//! ignored directory is ignored with it.

/// The patterns of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    keeps: bool,
    parts: Vec<String>,
}

impl Ignore {
    /// Reads a `.dockerignore`.
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let rules = text.lines().filter_map(Rule::parse).collect();
        Self { rules }
    }

    /// Patterns as they are, as `--exclude` gives them.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let rules = patterns.into_iter().filter_map(Rule::parse).collect();
        Self { rules }
    }

    /// Whether nothing is ignored.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the file or directory at this path, relative to the context, is ignored.
    pub fn ignores(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut ignored = false;
        for rule in &self.rules {
            if rule.keeps == ignored && rule.matches_path_or_parent(&parts) {
                ignored = !rule.keeps;
            }
        }
        ignored
    }

    /// Whether something below an ignored directory may be kept all the same, so that one has to
    /// look into it.
    pub fn may_keep_below(&self, directory: &str) -> bool {
        let parts: Vec<&str> = directory
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        let mut kept = self.rules.iter().filter(|rule| rule.keeps);
        kept.any(|rule| {
            let mut pairs = rule.parts.iter().zip(&parts);
            let wild = rule.parts.iter().take(parts.len()).any(|part| part == "**");
            wild || (rule.parts.len() > parts.len()
                && pairs.all(|(rule, part)| crate::glob::path_matches(rule, part)))
        })
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let line = line.trim();
        let (keeps, pattern) = match line.strip_prefix('!') {
            Some(pattern) => (true, pattern.trim()),
            None => (false, line),
        };
        let mut parts: Vec<String> = Vec::new();
        for part in pattern.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part.to_owned()),
            }
        }
        // A pattern for the context itself means nothing.
        (!parts.is_empty()).then_some(Self { keeps, parts })
    }

    fn matches_path_or_parent(&self, path: &[&str]) -> bool {
        (1..=path.len()).any(|end| matches(&self.parts, &path[..end]))
    }
}

fn matches(pattern: &[String], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == "**" => {
            // At the end it is everything below, but not the directory itself.
            if rest.is_empty() {
                return !path.is_empty();
            }
            (0..=path.len()).any(|skip| matches(rest, &path[skip..]))
        }
        Some((first, rest)) => path
            .split_first()
            .is_some_and(|(part, path)| part_matches(first, part) && matches(rest, path)),
    }
}

fn part_matches(pattern: &str, part: &str) -> bool {
    // `**` inside a name is as good as `*` there.
    crate::glob::path_matches(&pattern.replace("**", "*"), part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let check = |text: &str, ignored: &[&str], kept: &[&str]| {
            let rules = Ignore::parse(text);
            for path in ignored {
                assert!(rules.ignores(path), "{text:?} ignores {path}");
            }
            for path in kept {
                assert!(!rules.ignores(path), "{text:?} keeps {path}");
            }
        };
        check(
            "# c\nnode_modules\n",
            &["node_modules", "node_modules/a/b"],
            &["a/node_modules"],
        );
        check("*.md\n!README.md", &["a.md"], &["README.md", "d/a.md"]);
        check("**/*.pyc", &["a.pyc", "a/b/c.pyc"], &["a.py"]);
        check("/dist/ ", &["dist", "dist/x"], &["a/dist"]);
        check(
            "docs/**\n!docs/**/keep",
            &["docs/a", "docs/a/b"],
            &["docs", "docs/a/keep"],
        );
        check(
            "*\n!src\n!go.*",
            &["Makefile"],
            &["src/a.go", "src", "go.mod"],
        );
        check("a/**/z", &["a/z", "a/b/c/z"], &["z"]);
        check("!a\na", &["a"], &[]);
        check(".\n\n", &[], &["a"]);
        check("./a/../b", &["b"], &["a"]);
    }

    #[test]
    fn where_to_look_for_what_is_kept() {
        let rules = Ignore::parse("*\n!src/app/*.py\n");
        assert!(rules.may_keep_below("src"));
        assert!(rules.may_keep_below("src/app"));
        assert!(!rules.may_keep_below("docs"));
        assert!(Ignore::parse("a\n!**/k").may_keep_below("a"));
    }
}
