"""Decodes a container as docs/format.md specifies it, sharing no code with erpgo-dr.

usage: decode_container.py EPOCH_KEY_HEX < container > plaintext
"""

import gzip
import hashlib
import hmac
import struct
import sys

import zstandard
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CODECS = {1: lambda data, size: zstandard.ZstdDecompressor().decompress(data, size), 2: lambda data, _: gzip.decompress(data)}


def check(condition, what):
    if not condition:
        sys.exit(f"not a good container: {what}")


def decode(data, epoch_key):
    magic, version, length, _kind, cipher, codec, flags, frame_len, segment_len, salt, _epoch, name_len = struct.unpack_from(
        "<8sHHBBBBII32s25sB", data
    )
    check((magic, version, cipher, flags, length) == (b"ERPGODR\x01", 1, 1, 0, 82 + name_len), "header")
    header, context = data[:length], hashlib.sha256(data[:length]).digest()
    keys = HKDF(SHA256(), 128, salt, b"erpgo-dr/v1/object-keys" + context).derive(epoch_key)
    cipher_key, mac_key, iv_key, metadata_key = (keys[at : at + 32] for at in range(0, 128, 32))

    def is_tag(found, domain, covered):
        due = hmac.digest(metadata_key, bytes([len(domain)]) + domain + covered, "sha256")
        return hmac.compare_digest(found, due)

    def segment(at, number, layer):
        found, word = struct.unpack_from("<II", data, at)
        stored, last = word & 0x7FFFFFFF, word >> 31
        ciphertext, tag = data[at + 8 : at + stored - 24], data[at + stored - 24 : at + 8 + stored]
        block = context + struct.pack("<QBB22x", number, last, layer)
        due = hmac.digest(mac_key, block + ciphertext, "sha256")
        check(found == number and hmac.compare_digest(tag, due), f"segment {number} of layer {layer}")
        ecb = Cipher(algorithms.AES256(iv_key), modes.ECB()).encryptor()
        iv = ecb.update(struct.pack("<QB7x", number, layer))
        cbc = Cipher(algorithms.AES256(cipher_key), modes.CBC(iv)).decryptor()
        padded = cbc.update(ciphertext) + cbc.finalize()
        plain = padded[: -padded[-1]]
        check(len(plain) == segment_len or (last and len(plain) < segment_len), "length of a segment")
        return plain, at + 8 + stored, last

    def layer(at, number_of_layer):
        plain, number, last = b"", 0, 0
        while not last:
            piece, at, last = segment(at, number, number_of_layer)
            plain, number = plain + piece, number + 1
        return plain, at, number

    check(is_tag(data[length : length + 32], b"header", header), "header tag")
    body, index_at, body_segments = layer(length + 32, 0)
    index, trailer_at, index_segments = layer(index_at, 1)
    plain, entries, at = [], b"", 0
    while at < len(body):
        word, plain_len = struct.unpack_from("<II", body, at)
        stored, raw = word & 0x7FFFFFFF, word >> 31
        frame = body[at + 8 : at + 8 + stored]
        plain.append(frame if raw else CODECS[codec](frame, plain_len))
        check(len(plain[-1]) == plain_len <= frame_len and plain_len > 0, "length of a frame")
        entries, at = entries + body[at : at + 8], at + 8 + stored
    plaintext = b"".join(plain)
    trailer = struct.pack("<QQII", index_at, trailer_at - index_at, body_segments, index_segments)
    trailer += struct.pack("<QQ8s", len(plain), len(plaintext), b"ERPGOEND")
    check(entries == index, "index")
    check(data[trailer_at:-32] == trailer and is_tag(data[-32:], b"trailer", trailer), "trailer")
    return plaintext


if __name__ == "__main__":
    sys.stdout.buffer.write(decode(sys.stdin.buffer.read(), bytes.fromhex(sys.argv[1])))
