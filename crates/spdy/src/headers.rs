//! Header blocks: names and values, compressed by one zlib stream for each direction of a
//! connection, primed with the dictionary the protocol fixes.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::Error;

/// Names (lower case) and values, in the order they were sent.
pub type Headers = Vec<(String, String)>;

/// A header block that unpacks to more is refused.
const BLOCK_BYTES_MAX: usize = 1 << 20;

/// The words every sender may assume its peer has seen: each with its length before it.
const DICTIONARY_WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// What follows the words, without lengths.
const DICTIONARY_TAIL: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505",
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request",
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented",
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00",
    " Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,",
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,",
    "deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.",
);

pub(crate) fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    for word in DICTIONARY_WORDS {
        bytes.extend((word.len() as u32).to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    bytes.extend(DICTIONARY_TAIL.as_bytes());
    bytes
}

/// The sending side of header compression.
pub(crate) struct Packer(Compress);

impl Packer {
    pub(crate) fn new() -> Self {
        let mut zlib = Compress::new(Compression::fast(), true);
        zlib.set_dictionary(&dictionary())
            .expect("a new stream takes a dictionary");
        Self(zlib)
    }

    pub(crate) fn pack(&mut self, headers: &Headers) -> Vec<u8> {
        let mut plain = Vec::new();
        let mut put = |bytes: &[u8]| {
            plain.extend((bytes.len() as u32).to_be_bytes());
            plain.extend(bytes);
        };
        for (name, value) in headers {
            put(name.as_bytes());
            put(value.as_bytes());
        }
        let count = (headers.len() as u32).to_be_bytes();
        let plain = [&count[..], &plain].concat();
        let mut packed = Vec::with_capacity(plain.len() + 64);
        let start = self.0.total_in();
        loop {
            packed.reserve(256);
            let done = (self.0.total_in() - start) as usize;
            self.0
                .compress_vec(&plain[done..], &mut packed, FlushCompress::Sync)
                .expect("compressing from memory does not fail");
            if packed.len() < packed.capacity() {
                return packed;
            }
        }
    }
}

/// The receiving side of header compression.
pub(crate) struct Unpacker(Decompress);

impl Unpacker {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(crate) fn unpack(&mut self, packed: &[u8]) -> Result<Headers, Error> {
        let plain = self.inflate(packed)?;
        let mut rest = plain.as_slice();
        let count = number(&mut rest)?;
        let mut headers = Headers::new();
        for _ in 0..count {
            headers.push((text(&mut rest)?, text(&mut rest)?));
        }
        Ok(headers)
    }

    fn inflate(&mut self, packed: &[u8]) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        let start = self.0.total_in();
        loop {
            plain.reserve(4096);
            let done = (self.0.total_in() - start) as usize;
            match self
                .0
                .decompress_vec(&packed[done..], &mut plain, FlushDecompress::Sync)
            {
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&dictionary())
                        .map_err(|_| Error::Headers)?;
                    continue;
                }
                Err(_) => return Err(Error::Headers),
            }
            if plain.len() > BLOCK_BYTES_MAX {
                return Err(Error::Headers);
            }
            let done = (self.0.total_in() - start) as usize;
            if done == packed.len() && plain.len() < plain.capacity() {
                return Ok(plain);
            }
        }
    }
}

fn number(rest: &mut &[u8]) -> Result<usize, Error> {
    let (bytes, after) = rest.split_first_chunk::<4>().ok_or(Error::Headers)?;
    *rest = after;
    Ok(u32::from_be_bytes(*bytes) as usize)
}

fn text(rest: &mut &[u8]) -> Result<String, Error> {
    let length = number(rest)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(Error::Headers)?;
    *rest = after;
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adler-32, the checksum a zlib stream names its dictionary by (RFC 1950).
    fn adler32(bytes: &[u8]) -> u32 {
        let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        (b << 16) | a
    }

    #[test]
    fn the_dictionary_is_the_one_clients_name() {
        assert_eq!(dictionary().len(), 1423);
        assert_eq!(adler32(&dictionary()), 0xe3c6_a7c2);
    }

    #[test]
    fn one_stream_packs_many_blocks() {
        let (mut packer, mut unpacker) = (Packer::new(), Unpacker::new());
        for n in 0..50 {
            let headers = vec![
                ("streamtype".to_owned(), format!("stdout{n}")),
                ("x-long".to_owned(), "v".repeat(n * 100)),
            ];
            assert_eq!(unpacker.unpack(&packer.pack(&headers)), Ok(headers));
        }
    }
}
