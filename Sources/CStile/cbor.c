/*
 * Deterministic CBOR (RFC 8949 4.2.1), written and read. The reader takes what sources of hostile bytes send: each
 * step is checked against the end, counts against the bytes that are left, nesting against a limit.
 */
#include <stdlib.h>

#include "internal.h"

/* ---- Writing ---- */

bool sti_reserve(struct sti_bytes *bytes, size_t more) {
    if (bytes->failed) return false;
    if (bytes->room - bytes->count >= more) return true;
    if (more > SIZE_MAX / 4 || bytes->count > SIZE_MAX / 4) {
        bytes->failed = true;
        return false;
    }
    size_t room = bytes->room ? bytes->room : 128;
    while (room - bytes->count < more) room *= 2;
    uint8_t *at = realloc(bytes->at, room);
    if (!at) {
        bytes->failed = true;
        return false;
    }
    bytes->at = at;
    bytes->room = room;
    return true;
}

void sti_append(struct sti_bytes *bytes, const void *from, size_t count) {
    if (count == 0 || !sti_reserve(bytes, count)) return;
    memcpy(bytes->at + bytes->count, from, count);
    bytes->count += count;
}

void sti_head(struct sti_bytes *bytes, unsigned major, uint64_t argument) {
    if (!sti_reserve(bytes, 9)) return;
    uint8_t *at = bytes->at + bytes->count;
    uint8_t type = (uint8_t)(major << 5);
    unsigned width = argument < 24 ? 0 : argument <= 0xff ? 1 : argument <= 0xffff ? 2 : argument <= 0xffffffff ? 4 : 8;
    if (width == 0) {
        at[0] = type | (uint8_t)argument;
    } else {
        at[0] = type | (width == 1 ? 24 : width == 2 ? 25 : width == 4 ? 26 : 27);
        for (unsigned index = width; index > 0; index--, argument >>= 8) at[index] = (uint8_t)argument;
    }
    bytes->count += 1 + width;
}

void sti_text(struct sti_bytes *bytes, const char *text, size_t count) {
    sti_head(bytes, 3, count);
    sti_append(bytes, text, count);
}

size_t sti_frame_begin(struct sti_bytes *bytes) {
    size_t start = bytes->count;
    sti_append(bytes, "\0\0\0\0", STI_PREFIX);
    return start;
}

void sti_frame_end(struct sti_bytes *bytes, size_t start) {
    if (bytes->failed) return;
    size_t length = bytes->count - start - STI_PREFIX;
    uint8_t *at = bytes->at + start;
    at[0] = (uint8_t)(length >> 24), at[1] = (uint8_t)(length >> 16), at[2] = (uint8_t)(length >> 8);
    at[3] = (uint8_t)length;
}

/* ---- Reading ---- */

struct sti_reader sti_reader(const void *bytes, size_t count) {
    return (struct sti_reader){.at = bytes, .end = (const uint8_t *)bytes + count, .bad = false};
}

static size_t left(const struct sti_reader *reader) { return (size_t)(reader->end - reader->at); }

/* After a mistake the reader stands at its end, so that no loop goes on. */
static uint64_t refuse(struct sti_reader *reader) {
    reader->bad = true;
    reader->at = reader->end;
    return 0;
}

unsigned sti_major(struct sti_reader *reader) { return reader->at < reader->end ? *reader->at >> 5 : 8; }

static uint64_t wide(struct sti_reader *reader, unsigned major, unsigned additional) {
    if (additional > 27) return refuse(reader);
    size_t width = (size_t)1 << (additional - 24);
    if (left(reader) <= width) return refuse(reader);
    uint64_t argument = 0;
    for (size_t index = 1; index <= width; index++) argument = argument << 8 | reader->at[index];
    /* Major type 7 carries bits, not a number; elsewhere the shortest form is the only one. */
    uint64_t least = width == 1 ? 24 : (uint64_t)1 << (4 * width);
    if (major == 7 ? width == 1 : argument < least) return refuse(reader);
    reader->at += 1 + width;
    return argument;
}

/* The argument of the next item, whose major type must be this one. */
static inline uint64_t head(struct sti_reader *reader, unsigned major) {
    if (reader->at >= reader->end || *reader->at >> 5 != major) return refuse(reader);
    unsigned additional = *reader->at & 31;
    if (additional < 24) {
        reader->at++;
        return additional;
    }
    return wide(reader, major, additional);
}

uint64_t sti_unsigned(struct sti_reader *reader) { return head(reader, 0); }

static struct sti_slice payload(struct sti_reader *reader, unsigned major) {
    uint64_t count = head(reader, major);
    if (count > left(reader)) count = refuse(reader);
    struct sti_slice slice = {reader->at, (size_t)count};
    reader->at += count;
    return slice;
}

struct sti_slice sti_read_bytes(struct sti_reader *reader) { return payload(reader, 2); }

struct sti_slice sti_read_text(struct sti_reader *reader) {
    struct sti_slice text = payload(reader, 3);
    if (!sti_is_utf8(text.at, text.count)) {
        refuse(reader);
        text.count = 0;
    }
    return text;
}

/* An item takes a byte at least: a count above that is a lie, found before anything is done for it. */
static size_t count_of(struct sti_reader *reader, unsigned major, size_t least) {
    uint64_t count = head(reader, major);
    return count > left(reader) / least ? (size_t)refuse(reader) : (size_t)count;
}

size_t sti_array(struct sti_reader *reader) { return count_of(reader, 4, 1); }
size_t sti_map(struct sti_reader *reader) { return count_of(reader, 5, 2); }

static bool is_ascending(struct sti_slice left, struct sti_slice right) {
    size_t common = left.count < right.count ? left.count : right.count;
    int order = common ? memcmp(left.at, right.at, common) : 0;
    return order < 0 || (order == 0 && left.count < right.count);
}

static void check_key(struct sti_reader *reader, struct sti_keys *keys, struct sti_slice key) {
    if (keys->last.at && !is_ascending(keys->last, key)) refuse(reader);
    keys->last = key;
}

static void skip(struct sti_reader *reader, unsigned depth) {
    if (depth >= STI_MAX_DEPTH || reader->at >= reader->end) {
        refuse(reader);
        return;
    }
    unsigned major = *reader->at >> 5, additional = *reader->at & 31;
    switch (major) {
        case 0: case 1: head(reader, major); break;
        case 2: sti_read_bytes(reader); break;
        case 3: sti_read_text(reader); break;
        case 4:
            for (size_t count = sti_array(reader); count > 0 && !reader->bad; count--) skip(reader, depth + 1);
            break;
        case 5: {
            struct sti_keys keys = {{NULL, 0}};
            for (size_t count = sti_map(reader); count > 0 && !reader->bad; count--) {
                const uint8_t *start = reader->at;
                skip(reader, depth + 1);
                if (reader->bad) return;
                check_key(reader, &keys, (struct sti_slice){start, (size_t)(reader->at - start)});
                skip(reader, depth + 1);
            }
            break;
        }
        case 6:
            head(reader, 6);
            if (!reader->bad) skip(reader, depth + 1);
            break;
        default:
            /* false, true, null; half, single and double floats */
            if ((additional >= 20 && additional <= 22) || (additional >= 25 && additional <= 27)) head(reader, 7);
            else refuse(reader);
    }
}

struct sti_slice sti_skip(struct sti_reader *reader) {
    const uint8_t *start = reader->at;
    skip(reader, 0);
    return (struct sti_slice){start, reader->bad ? 0 : (size_t)(reader->at - start)};
}

uint64_t sti_key(struct sti_reader *reader, struct sti_keys *keys) {
    const uint8_t *start = reader->at;
    if (sti_major(reader) == 0) {
        uint64_t key = sti_unsigned(reader);
        if (!reader->bad) check_key(reader, keys, (struct sti_slice){start, (size_t)(reader->at - start)});
        return key;
    }
    struct sti_slice key = sti_skip(reader);
    if (reader->bad) return UINT64_MAX;
    check_key(reader, keys, key);
    if (!reader->bad) sti_skip(reader);
    return UINT64_MAX;
}

/* ---- UTF-8 (RFC 3629) ---- */

static size_t sequence(const uint8_t *at, size_t left) {
    uint8_t first = at[0];
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || length > left) return 0;
    for (size_t index = 1; index < length; index++)
        if ((at[index] & 0xc0) != 0x80) return 0;
    if (first == 0xe0 && at[1] < 0xa0) return 0; /* too long a spelling */
    if (first == 0xed && at[1] > 0x9f) return 0; /* half of a surrogate pair */
    if (first == 0xf0 && at[1] < 0x90) return 0;
    if (first == 0xf4 && at[1] > 0x8f) return 0; /* above U+10FFFF */
    return length;
}

bool sti_is_utf8(const uint8_t *bytes, size_t count) {
    size_t at = 0;
    while (at < count) {
        if (bytes[at] < 0x80) {
            at++;
            continue;
        }
        size_t length = sequence(bytes + at, count - at);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

void sti_copy_text(char *to, size_t room, struct sti_slice text) {
    size_t length = text.count < room ? text.count : room - 1;
    /* A character is not cut in two. */
    while (length > 0 && length < text.count && (text.at[length] & 0xc0) == 0x80) length--;
    if (length > 0) memcpy(to, text.at, length);
    to[length] = 0;
}
