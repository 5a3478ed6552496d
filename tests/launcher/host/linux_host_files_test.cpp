// The verbs that make and copy files, on real ones: nothing that is there is lost, and no link is followed.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/host/linux_host.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

struct stat stat_of(const std::filesystem::path& path) {
  struct stat info {};
  REQUIRE(lstat(path.c_str(), &info) == 0);
  return info;
}

}  // namespace

TEST_CASE("a VM's own copy is made once, and kept") {
  const fakes::TempDir dir;
  launcher::LinuxHost host;
  fakes::write_file(dir / "template", "first");
  host.files.copy_once(dir / "template", dir / "own");
  CHECK(fakes::read_file(dir / "own") == "first");
  CHECK((stat_of(dir / "own").st_mode & 0777) == 0600);
  fakes::write_file(dir / "template", "second");
  host.files.copy_once(dir / "template", dir / "own");
  CHECK(fakes::read_file(dir / "own") == "first");
  CHECK(!std::filesystem::exists(dir / "own.new"));
  CHECK_THROWS(host.files.copy_once(dir / "nothing", dir / "other"));
  CHECK(!std::filesystem::exists(dir / "other"));
}

TEST_CASE("a directory is made with what leads there, and given away with what is in it") {
  const fakes::TempDir dir;
  launcher::LinuxHost host;
  const std::filesystem::path state = dir / "var/lib/db/tpm";
  host.files.keep_directory(state, std::nullopt);
  CHECK((stat_of(state).st_mode & 0777) == 0711);
  fakes::write_file(dir / "outside", "x");
  fakes::write_file(state / "inside", "x");
  std::filesystem::create_symlink(dir / "outside", state / "link");
  const unsigned owner = geteuid() == 0 ? 1'912'345'678u : geteuid();
  host.files.keep_directory(state, owner);
  host.files.keep_directory(state, owner);
  CHECK(stat_of(state).st_uid == owner);
  CHECK(stat_of(state / "inside").st_uid == owner);
  CHECK(stat_of(state / "link").st_uid == owner);
  CHECK(stat_of(dir / "outside").st_uid == geteuid());
}

TEST_CASE("a file is given away and taken back; one that is gone needs neither") {
  const fakes::TempDir dir;
  launcher::LinuxHost host;
  fakes::write_file(dir / "pmem", "x");
  const unsigned other = geteuid() == 0 ? 1'912'345'678u : geteuid();
  const launcher::FileIdentity file = host.files.identity_of(dir / "pmem").value();
  host.files.give_file(dir / "pmem", file, other, getegid());
  CHECK(stat_of(dir / "pmem").st_uid == other);
  host.files.give_file(dir / "pmem", file, geteuid(), getegid());
  CHECK(stat_of(dir / "pmem").st_uid == geteuid());
  CHECK(!host.files.identity_of(dir / "gone"));
  host.files.give_file(dir / "gone", file, other, getegid());
  CHECK(!std::filesystem::exists(dir / "gone"));
}

TEST_CASE("an owner is given back to the file that was taken, never to what has its name by then") {
  const fakes::TempDir dir;
  const unsigned other = geteuid() == 0 ? 1'912'345'678u : geteuid();
  for (const bool crashed : {false, true}) {  // then there is no open file any more, only the journal
    fakes::write_file(dir / "pmem", "x");
    fakes::write_file(dir / "victim", "root's own");
    std::filesystem::permissions(dir / "victim", std::filesystem::perms::owner_read);
    launcher::LinuxHost host, recovering;
    const launcher::FileIdentity file = host.files.identity_of(dir / "pmem").value();
    host.files.give_file(dir / "pmem", file, other, other);
    std::filesystem::rename(dir / "pmem", dir / "moved");
    std::filesystem::create_symlink(dir / "victim", dir / "pmem");
    if (crashed) {
      CHECK_THROWS(recovering.files.give_file(dir / "pmem", file, 65'534, 65'534));
      CHECK(stat_of(dir / "moved").st_uid == other);
      std::filesystem::remove(dir / "pmem");
      std::filesystem::rename(dir / "moved", dir / "pmem");  // as it says
      recovering.files.give_file(dir / "pmem", file, geteuid(), getegid());
      CHECK(stat_of(dir / "pmem").st_uid == geteuid());
    } else {
      host.files.give_file(dir / "pmem", file, geteuid(), getegid());
      CHECK(stat_of(dir / "moved").st_uid == geteuid());
    }
    CHECK(stat_of(dir / "victim").st_uid == geteuid());
    for (const char* name : {"pmem", "moved", "victim"}) std::filesystem::remove(dir / name);
  }
}

TEST_CASE("a log is kept, and read as well as written") {
  const fakes::TempDir dir;
  launcher::LinuxHost host;
  fakes::write_file(dir / "log", "one\n");
  const launcher::Fd fd = host.files.append_to(dir / "log");
  char text[8]{};
  CHECK(read(fd.get(), text, sizeof text) == 4);
  CHECK(write(fd.get(), "two\n", 4) == 4);
  CHECK(fakes::read_file(dir / "log") == "one\ntwo\n");
}

TEST_CASE("a small record is replaced as a whole, and only its owner reads it") {
  const fakes::TempDir dir;
  launcher::LinuxHost host;
  const std::filesystem::path record = dir / "state/db/made-by.json";
  host.files.keep_text(record, "one\n");
  fakes::write_file(dir / "victim", "as it was");
  std::filesystem::create_symlink(dir / "victim", record.string() + ".new");
  host.files.keep_text(record, "two\n");
  CHECK(fakes::read_file(record) == "two\n");
  CHECK(fakes::read_file(dir / "victim") == "as it was");
  CHECK((stat_of(record).st_mode & 0777) == 0600);
  CHECK(!std::filesystem::exists(record.string() + ".new"));
}

TEST_CASE("a file system without unnamed files is told, with what has them") {
  launcher::LinuxHost host;
  std::string said;
  try {
    host.files.make_unnamed("/proc");
  } catch (const std::exception& error) {
    said = error.what();
  }
  CHECK(said.starts_with(
      "the file system of /proc has no files without a name (O_TMPFILE); images and overlays can be made on "
      "ext4, xfs, btrfs and tmpfs"));
}

TEST_CASE("a file in memory is read-only and sealed, and any user may open it again") {
  launcher::LinuxHost host;
  const launcher::Fd fd = host.files.memory_file("volume TEST", std::string("a\0b", 3));
  char bytes[8];
  CHECK(read(fd.get(), bytes, sizeof bytes) == 3);
  CHECK(std::string(bytes, 3) == std::string("a\0b", 3));
  CHECK((fcntl(fd.get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
  const int all = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  CHECK((fcntl(fd.get(), F_GET_SEALS) & all) == all);
  struct stat info {};
  REQUIRE(fstat(fd.get(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0444);
}

TEST_CASE("a pair of ssh keys is made once, for its owner alone") {
  const fakes::TempDir dir;
  launcher::LinuxHost host;
  const std::string path = dir / "id";
  host.files.keep_ssh_key("/usr/bin/ssh-keygen", path, "db");
  const std::string first = fakes::read_file(path), pub = fakes::read_file(path + ".pub");
  CHECK(first.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
  CHECK(pub.starts_with("ssh-ed25519 AAAA"));
  CHECK(pub.ends_with(" db\n"));
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  host.files.keep_ssh_key("/usr/bin/ssh-keygen", path, "db");
  CHECK(fakes::read_file(path) == first);
  CHECK_THROWS(host.files.keep_ssh_key("/usr/bin/false", dir / "other", "db"));
  CHECK(!std::filesystem::exists(dir / "other"));
}
