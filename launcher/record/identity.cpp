#include "launcher/record/identity.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "launcher/facts/qemu_cache.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/record/elf.hpp"
#include "launcher/record/fact.hpp"

namespace launcher::inline record {

namespace {

using Bytes = std::span<const unsigned char>;

std::string hex_of(Bytes bytes) { return fmt::format("{:02x}", fmt::join(bytes, "")); }

std::string hex_of(const XXH128_hash_t& hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  return hex_of(Bytes(canonical.digest));
}

// The digest that the kernel checks each page against as it is read; nullopt: the file has none.
std::optional<Identity> verity_of(int fd) {
  constexpr std::size_t most = 64;
  alignas(fsverity_digest) std::array<unsigned char, sizeof(fsverity_digest) + most> room{};
  auto* digest = reinterpret_cast<fsverity_digest*>(room.data());
  digest->digest_size = most;
  if (ioctl(fd, FS_IOC_MEASURE_VERITY, digest) < 0) return std::nullopt;
  const char* name = digest->digest_algorithm == FS_VERITY_HASH_ALG_SHA256   ? "fsverity-sha256"
                     : digest->digest_algorithm == FS_VERITY_HASH_ALG_SHA512 ? "fsverity-sha512"
                                                                             : "fsverity";
  return Identity{name, hex_of(Bytes(room).subspan(sizeof(fsverity_digest), digest->digest_size)), false, 0};
}

struct stat stat_of(int fd) {
  struct stat info {};
  if (fstat(fd, &info) < 0) throw std::system_error(errno, std::generic_category(), "fstat");
  return info;
}

std::string key_of(const struct stat& info) {
  return fmt::format("content xxh3_128 {}:{} {} {}.{:09} {}.{:09}", info.st_dev, info.st_ino, info.st_size,
                     info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
}

// A file that was changed a moment ago may change again within the same tick of the clock: its times tell nothing yet.
bool has_settled(const struct stat& info) {
  constexpr time_t moment = 2;
  const time_t now = std::time(nullptr);
  return now - info.st_mtim.tv_sec >= moment && now - info.st_ctim.tv_sec >= moment;
}

std::string content_of(int fd, const std::string& path, std::uint64_t whole, const IdentityProgress& progress) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  constexpr std::size_t piece = 1 << 20;
  std::vector<unsigned char> bytes(piece);
  for (std::uint64_t done = 0;;) {
    const ssize_t got = pread(fd, bytes.data(), piece, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw std::system_error(errno, std::generic_category(), "read");
    if (got == 0) break;
    XXH3_128bits_update(state.get(), bytes.data(), static_cast<std::size_t>(got));
    done += static_cast<std::uint64_t>(got);
    if (progress) progress(path, done, whole);
  }
  return hex_of(XXH3_128bits_digest(state.get()));
}

Identity identity_of_open(int fd, const std::string& path, const IdentityProgress& progress) {
  struct stat info = stat_of(fd);
  if (S_ISBLK(info.st_mode)) {
    std::uint64_t size = 0;
    if (ioctl(fd, BLKGETSIZE64, &size) < 0) throw std::system_error(errno, std::generic_category(), "BLKGETSIZE64");
    return {"size", std::to_string(size), false, 0};
  }
  if (!S_ISREG(info.st_mode)) throw std::runtime_error("it is no file");
  if (auto verity = verity_of(fd)) return *verity;
  const std::vector<std::string> known = read_cache(key_of(info));
  if (!known.empty() && has_settled(info)) return {"xxh3_128", known.front(), true, 0};
  constexpr int attempts = 3;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const std::string before = key_of(info);
    const std::string digest = content_of(fd, path, static_cast<std::uint64_t>(info.st_size), progress);
    info = stat_of(fd);
    if (key_of(info) != before) continue;  // it was written meanwhile
    if (has_settled(info)) write_cache(before, digest);
    return {"xxh3_128", digest, false, static_cast<std::uint64_t>(info.st_size)};
  }
  throw std::runtime_error("it changes while it is read");
}

}  // namespace

std::string digest_of_text(std::string_view text) {
  return fmt::format("#{:016x}", XXH3_64bits(text.data(), text.size()));
}

std::expected<Identity, std::string> identity_of_file(const std::string& path, const IdentityProgress& progress) {
  const Fd fd(
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));  // never waits, never becomes a terminal's
  if (fd.get() < 0) return std::unexpected(std::string(std::strerror(errno)));
  try {
    return identity_of_open(fd.get(), path, progress);
  } catch (const std::exception& error) {
    return std::unexpected(std::string(error.what()));
  }
}

std::expected<Identity, std::string> identity_of_program(const std::string& path) {
  if (const auto elf = read_elf(path); elf && !elf->build_id.empty())
    return Identity{"gnu-build-id", elf->build_id, false, 0};
  return identity_of_file(path);
}

}  // namespace launcher::record
