//! The bytes of an object → how they are stored, in each form that a delivery stream can be told to
//! write. Pure.

use std::io::{self, Write};

use flate2::Compression as Level;
use flate2::write::GzEncoder;

/// `CompressionFormat` of a delivery stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    #[default]
    Uncompressed,
    Gzip,
    Zip,
    /// The stream of snappy-java.
    Snappy,
    HadoopSnappy,
}

/// Bytes of a block of snappy-java, and of Hadoop.
const JAVA_BLOCK: usize = 32 << 10;
const HADOOP_BLOCK: usize = 256 << 10;
/// Magic, version and least compatible version.
const JAVA_HEAD: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

impl Compression {
    /// What object names end with.
    pub fn extension(self) -> &'static str {
        match self {
            Compression::Uncompressed => "",
            Compression::Gzip => ".gz",
            Compression::Zip => ".zip",
            // Hadoop's too, whatever the documentation says.
            Compression::Snappy | Compression::HadoopSnappy => ".snappy",
        }
    }

    /// What `Content-Encoding` says of objects.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Compression::Uncompressed => None,
            Compression::Gzip => Some("gzip"),
            Compression::Zip => Some("zip"),
            Compression::Snappy => Some("snappy-java"),
            Compression::HadoopSnappy => Some("hadoop-snappy"),
        }
    }

    /// As the API of Firehose calls it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Uncompressed => "UNCOMPRESSED",
            Compression::Gzip => "GZIP",
            Compression::Zip => "ZIP",
            Compression::Snappy => "Snappy",
            Compression::HadoopSnappy => "HADOOP_SNAPPY",
        }
    }

    pub fn of_name(name: &str) -> Option<Compression> {
        let all = [
            Compression::Uncompressed,
            Compression::Gzip,
            Compression::Zip,
            Compression::Snappy,
            Compression::HadoopSnappy,
        ];
        all.into_iter().find(|compression| compression.name() == name)
    }

    /// `entry` is the name of a ZIP's only entry.
    pub fn encode(self, bytes: Vec<u8>, entry: &str) -> io::Result<Vec<u8>> {
        match self {
            Compression::Uncompressed => Ok(bytes),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Level::default());
                encoder.write_all(&bytes)?;
                encoder.finish()
            }
            Compression::Zip => {
                let options = zip::write::SimpleFileOptions::default()
                    .compression_method(zip::CompressionMethod::Deflated);
                let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
                archive.start_file(entry, options)?;
                archive.write_all(&bytes)?;
                Ok(archive.finish()?.into_inner())
            }
            Compression::Snappy => {
                let mut stored = JAVA_HEAD.to_vec();
                for block in bytes.chunks(JAVA_BLOCK) {
                    push_block(&mut stored, block)?;
                }
                Ok(stored)
            }
            Compression::HadoopSnappy => {
                let mut stored = Vec::new();
                for block in bytes.chunks(HADOOP_BLOCK) {
                    stored.extend((block.len() as u32).to_be_bytes());
                    push_block(&mut stored, block)?;
                }
                Ok(stored)
            }
        }
    }
}

fn push_block(stored: &mut Vec<u8>, block: &[u8]) -> io::Result<()> {
    let raw = snap::raw::Encoder::new().compress_vec(block)?;
    stored.extend((raw.len() as u32).to_be_bytes());
    stored.extend(raw);
    Ok(())
}
