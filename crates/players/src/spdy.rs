//! SPDY/3.1, as far as kubelets and API servers speak it to forward ports (draft-mbelshe-httpbis-spdy-00). Leaves out
//! flow control, priorities and settings, which they leave out as well.

use flate2::{Decompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::error::Error;

/// Both sides know these words before the first byte. Each follows its length, in four bytes.
const WORDS: &str = "options|head|post|put|delete|trace|accept|accept-charset|accept-encoding|accept-language|\
    accept-ranges|age|allow|authorization|cache-control|connection|content-base|content-encoding|content-language|\
    content-length|content-location|content-md5|content-range|content-type|date|etag|expect|expires|from|host|if-match|\
    if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|location|max-forwards|pragma|\
    proxy-authenticate|proxy-authorization|range|referer|retry-after|server|te|trailer|transfer-encoding|upgrade|\
    user-agent|vary|via|warning|www-authenticate|method|get|status|200 OK|version|HTTP/1.1|url|public|set-cookie|\
    keep-alive|origin";

/// They also know this text, without lengths.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not \
    Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov \
    Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,\
    application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=\
    iso-8859-1,utf-,*,enq=0.";

/// The longest control frame, and the longest list of headers, that is read.
const LONGEST: usize = 64 * 1024;

/// The bit of the first word that tells control frames from data.
const CONTROL: u32 = 1 << 31;
const VERSION: u32 = 3 << 16;
const SYN_STREAM: u32 = 1;
const SYN_REPLY: u32 = 2;
const RST_STREAM: u32 = 3;
const PING: u32 = 6;

/// The flag of the last frame that a side sends in a stream.
const FIN: u8 = 1;

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A new stream, with its headers, in the order of the client.
    Open { stream: u32, headers: Vec<(String, String)> },
    /// Data of a stream, and whether it is the last.
    Data { stream: u32, last: bool, bytes: Vec<u8> },
    /// The client is not interested in a stream any more.
    Reset { stream: u32 },
    /// A question that is answered by itself.
    Ping { number: u32 },
    /// A frame without effect here.
    Other,
}

/// Reads frames. The lists of headers of a connection are compressed as one text.
pub(crate) struct Reader {
    inflate: Decompress,
    begun: bool,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { inflate: Decompress::new(false), begun: false }
    }

    /// Reads the next frame.
    pub(crate) async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<Frame, Error> {
        let failed = || Error::io("read from", "the client of a port forwarding");
        let first = from.read_u32().await.map_err(failed())?;
        let second = from.read_u32().await.map_err(failed())?;
        let [flags, ..] = second.to_be_bytes();
        let length = usize::try_from(second & 0x00ff_ffff).unwrap_or(usize::MAX);
        if first & CONTROL != 0 && length > LONGEST {
            return Err(malformed("too long"));
        }
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes).await.map_err(failed())?;
        if first & CONTROL == 0 {
            return Ok(Frame::Data { stream: first, last: flags & FIN != 0, bytes });
        }
        let word = || bytes.first_chunk().map(|word| u32::from_be_bytes(*word) & !CONTROL);
        let word = || word().ok_or_else(|| malformed("too short"));
        match first & 0xffff {
            SYN_STREAM => {
                // Its number, an associated stream, a priority and a slot come before the headers.
                let block = bytes.get(10..).ok_or_else(|| malformed("too short"))?;
                Ok(Frame::Open { stream: word()?, headers: self.headers(block)? })
            }
            RST_STREAM => Ok(Frame::Reset { stream: word()? }),
            PING => Ok(Frame::Ping { number: word()? }),
            _ => Ok(Frame::Other),
        }
    }

    /// Decompresses and parses a list of headers.
    fn headers(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, Error> {
        let block = if self.begun { block } else { self.begin(block)? };
        parse(&self.inflate(block)?).ok_or_else(|| malformed("without headers"))
    }

    /// Makes the decompressor know the dictionary, and returns what follows the head of the compressed text.
    ///
    /// A text that refers to a dictionary continues one that is known to both sides. So it is enough to read the dictionary
    /// first, as a text of its own.
    fn begin<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], Error> {
        self.begun = true;
        self.inflate(&stored(&dictionary()))?;
        // Two bytes, and the checksum of the dictionary if a flag says so (RFC 1950).
        let has_dictionary = block.get(1).is_some_and(|flags| flags & 0x20 != 0);
        block.get(if has_dictionary { 6 } else { 2 }..).ok_or_else(|| malformed("too short"))
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        loop {
            text.reserve(4096);
            let before = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress_vec(block, &mut text, FlushDecompress::Sync);
            let status = status.map_err(|_| malformed("with headers that are not compressed"))?;
            let read = usize::try_from(self.inflate.total_in() - before.0).unwrap_or(usize::MAX);
            block = block.get(read..).unwrap_or_default();
            let idle = (self.inflate.total_in(), self.inflate.total_out()) == before;
            if idle || status == Status::StreamEnd {
                return Ok(text);
            }
            if text.len() > LONGEST {
                return Err(malformed("with too many headers"));
            }
        }
    }
}

fn malformed(what: &str) -> Error {
    Error::Unusable(format!("the client of a port forwarding sent a frame {what}"))
}

/// The text that both sides know.
fn dictionary() -> Vec<u8> {
    let mut dictionary: Vec<u8> = WORDS.split('|').flat_map(with_length).collect();
    dictionary.extend(TEXT.as_bytes());
    dictionary
}

/// A text after its length.
fn with_length(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or_default();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// Bytes as a part of a compressed text that is not compressed, and the empty part after which readers look at it
/// (RFC 1951).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or_default();
    let head = |length: u16| [&[0], length.to_le_bytes().as_slice(), &(!length).to_le_bytes()].concat();
    [head(length).as_slice(), bytes, &head(0)].concat()
}

/// Parses a list of headers: a number, and that many names and values, each after its length.
fn parse(mut text: &[u8]) -> Option<Vec<(String, String)>> {
    fn number(text: &mut &[u8]) -> Option<usize> {
        let (number, rest) = text.split_first_chunk()?;
        *text = rest;
        usize::try_from(u32::from_be_bytes(*number)).ok()
    }
    fn word(text: &mut &[u8]) -> Option<String> {
        let length = number(text)?;
        let (word, rest) = text.split_at_checked(length)?;
        *text = rest;
        Some(String::from_utf8_lossy(word).into_owned())
    }
    let count = number(&mut text)?;
    (0..count).map(|_| Some((word(&mut text)?, word(&mut text)?))).collect()
}

/// Writes frames.
pub(crate) struct Writer {
    begun: bool,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { begun: false }
    }

    /// Accepts a stream, with no headers.
    pub(crate) fn accept(&mut self, stream: u32) -> Vec<u8> {
        let mut payload = stream.to_be_bytes().to_vec();
        if !std::mem::replace(&mut self.begun, true) {
            // The head of a compressed text without dictionary (RFC 1950).
            payload.extend([0x78, 0x01]);
        }
        payload.extend(stored(&0_u32.to_be_bytes()));
        control(SYN_REPLY, &payload)
    }

    /// Answers a ping.
    pub(crate) fn pong(number: u32) -> Vec<u8> {
        control(PING, &number.to_be_bytes())
    }

    /// Data of a stream, shorter than 16 MiB, and whether it is the last.
    pub(crate) fn data(stream: u32, bytes: &[u8], last: bool) -> Vec<u8> {
        frame(stream, if last { FIN } else { 0 }, bytes)
    }
}

fn control(kind: u32, payload: &[u8]) -> Vec<u8> {
    frame(CONTROL | VERSION | kind, 0, payload)
}

fn frame(first: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default() & 0x00ff_ffff;
    let second = u32::from(flags) << 24 | length;
    [&first.to_be_bytes(), &second.to_be_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two frames of client-go: the streams for the error and the data of a connection to port 8080.
    const CLIENT: &str = "800300010000003e0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c\
        60616061c0c0c0c0590489c64c50f2663400000000ffff800300010000001800000003000000000000c2aa19540e2512d60b000000ffff";

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits = hexadecimal.as_bytes().chunks(2).map(|digits| std::str::from_utf8(digits).unwrap());
        digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
    }

    async fn read(text: &[u8]) -> Vec<Frame> {
        let (mut reader, mut rest) = (Reader::new(), text);
        let mut frames = Vec::new();
        while !rest.is_empty() {
            frames.push(reader.read(&mut rest).await.unwrap());
        }
        frames
    }

    #[tokio::test]
    async fn headers_of_a_client_are_read_though_they_refer_to_the_dictionary_and_to_each_other() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (frame, (number, kind)) in read(&bytes(CLIENT)).await.into_iter().zip([(1, "error"), (3, "data")]) {
            let Frame::Open { stream, mut headers } = frame else { panic!("{frame:?}") };
            headers.sort();
            assert_eq!(stream, number);
            let expected = [header("port", "8080"), header("requestid", "0"), header("streamtype", kind)];
            assert_eq!(headers, expected);
        }
    }

    #[test]
    fn dictionary_is_that_of_the_protocol() {
        let dictionary = dictionary();
        let (low, high) = dictionary.iter().fold((1_u32, 0_u32), |(low, high), byte| {
            let low = (low + u32::from(*byte)) % 65521;
            (low, (high + low) % 65521)
        });
        // The checksum that clients send.
        assert_eq!((dictionary.len(), high << 16 | low), (1423, 0xe3c6_a7c2));
    }

    #[tokio::test]
    async fn frames_of_all_kinds_are_told_apart() {
        let frames = [
            Writer::data(5, b"abc", true),
            Writer::data(5, b"", false),
            Writer::pong(7),
            control(RST_STREAM, &[0, 0, 0, 5, 0, 0, 0, 1]),
            control(9, &[0; 8]),
        ];
        let expected = [
            Frame::Data { stream: 5, last: true, bytes: b"abc".to_vec() },
            Frame::Data { stream: 5, last: false, bytes: Vec::new() },
            Frame::Ping { number: 7 },
            Frame::Reset { stream: 5 },
            Frame::Other,
        ];
        assert_eq!(read(&frames.concat()).await, expected);
    }

    #[test]
    fn answers_are_one_compressed_text() {
        let mut writer = Writer::new();
        let answers = [writer.accept(1), writer.accept(3)].concat();
        // client-go reads these bytes as two answers without headers.
        let expected = "80030002000000140000000178010004 00fbff000000000000 00ffff800300020000001200000003000400fbff0000\
            0000000000ffff";
        assert_eq!(answers, bytes(&expected.replace(' ', "")));
    }

    #[tokio::test]
    async fn malformed_frame_is_an_error() {
        for frame in [control(SYN_STREAM, &[0; 12]), control(PING, &[]), vec![0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]] {
            assert!(Reader::new().read(&mut frame.as_slice()).await.is_err(), "{frame:?}");
        }
    }
}
