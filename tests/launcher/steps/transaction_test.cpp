// The journal: what is written before a step, what is read back after a crash, and undoing it in order.
#include "launcher/steps/transaction.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <string>
#include <vector>

#include "launcher/steps/ledger.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;
using topology::mib;

struct Place {
  fakes::TempDir dir;
  std::filesystem::path base = dir / "run";
  fakes::FakeHost host{dir / "host"};
  Place() {
    std::filesystem::create_directories(base);
    host.add_pool({.node = 0, .page = mib(2), .total = 100});
  }
  VmDir claim(const std::string& name) { return VmDir::claim(base, name).value(); }
};

std::vector<std::string> texts(const JournalText& journal) {
  std::vector<std::string> out;
  for (const Owed& owed : journal.owed) out.push_back(std::to_string(owed.number) + " " + describe(owed.undo));
  return out;
}
std::vector<std::string> owed(const VmDir& dir) { return texts(dir.journal().read()); }

std::string begin_line(int number, const Undo& undo) {
  return boost::json::serialize(boost::json::object{{"version", 1}, {"begin", number}, {"undo", to_json(undo)}}) + "\n";
}

// As another process sees it.
std::vector<std::string> on_disk(const VmDir& dir) {
  return texts(parse_journal(fakes::read_file(dir.path() / "journal")));
}

void make_owner_dead(const VmDir& dir) { fakes::write_file(dir.path() / "owner", R"({"pid":1,"start":1})"); }

}  // namespace

TEST_CASE("the undo is in the journal before the step is done") {
  Place place;
  const VmDir dir = place.claim("db");
  Transaction transaction(place.host, dir, std::nullopt);
  place.host.stop_dead_at(0, fakes::When::before);
  CHECK_THROWS_AS(transaction.perform(RaisePool{0, mib(2), 28}), fakes::StopDead);
  CHECK(on_disk(dir) == std::vector<std::string>{"0 trim node 0's pool of 2M pages by 28"});
  CHECK(place.host.total(0, mib(2)) == 100);
}

TEST_CASE("undone last first, each once, and then the claim is gone") {
  Place place;
  const VmDir dir = place.claim("db");
  {
    Transaction transaction(place.host, dir, std::nullopt);
    transaction.perform(RaisePool{0, mib(2), 28});
    transaction.perform(Listen{(dir.path() / "a.sock").string(), 10, false});
    transaction.perform(MakeTap{"v.0", "", std::nullopt, {11}});
  }
  CHECK(on_disk(dir).size() == 2);  // a socket lies in the VM's directory and goes with it
  place.host.heal();
  CHECK(unwind(place.host, dir, place.base).empty());
  CHECK(place.host.log() ==
        std::vector<std::string>{"drop_tap v.0",
                                 "write /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages 100"});
  CHECK(!std::filesystem::exists(dir.path()));
}

TEST_CASE("a helper gets its files, QEMU does not, and it is ended with the VM") {
  Place place;
  const VmDir dir = place.claim("db");
  const std::string log = (dir.path() / "cat.log").string();
  {
    Transaction transaction(place.host, dir, std::nullopt);
    transaction.perform(Pair{10, 11});
    ChildSpec child;
    child.argv = {"/bin/sh", "-c", "echo to the log; cat <&5 >&5"};
    transaction.perform(StartHelper{"echo", child, {{5, 11}}, log});
    CHECK(transaction.opened().fds.contains(10));
    CHECK(!transaction.opened().fds.contains(11));
    REQUIRE(transaction.opened().helpers.size() == 1);
    CHECK(transaction.opened().helpers[0].role == "echo");
    const int ours = transaction.opened().fds.at(10).get();
    REQUIRE(write(ours, "hello", 5) == 5);
    char word[6] = {};
    REQUIRE(read(ours, word, 5) == 5);  // the other end is open in the helper alone
    CHECK(std::string(word) == "hello");
    transaction.opened().logs.read_some();
    CHECK(fakes::read_file(log) == "to the log\n");
    CHECK(place.host.live_processes().size() == 1);  // it ends by itself once nobody talks to it any more
  }
  CHECK(owed(dir).size() == 1);
  CHECK(unwind(place.host, dir, place.base).empty());
  CHECK(place.host.live_processes().empty());
}

TEST_CASE("a step that fails says which, and its own undo stays to be done") {
  Place place;
  const VmDir dir = place.claim("db");
  Transaction transaction(place.host, dir, std::nullopt);
  place.host.fail_at(0);
  try {
    transaction.perform(RaisePool{0, mib(2), 28});
    FAIL("it was to throw");
  } catch (const std::exception& error) {
    CHECK(std::string(error.what()) == "could not raise node 0's pool of 2M pages by 28");
    CHECK_THROWS_AS(std::rethrow_if_nested(error), std::system_error);
  }
  CHECK(owed(dir).size() == 1);
}

TEST_CASE("what cannot be undone is told, the rest is undone, and the claim stays for recover") {
  Place place;
  const VmDir dir = place.claim("db");
  Transaction transaction(place.host, dir, std::nullopt);
  transaction.perform(RaisePool{0, mib(2), 28});
  transaction.perform(MakeTap{"v.0", "", std::nullopt, {11}});  // its fd is still open here
  const std::vector<std::string> left = unwind(place.host, dir, place.base);
  REQUIRE(left.size() == 1);
  CHECK(left[0] == "could not let tap v.0 go with its last fd: tap v.0 is still there: some process holds it open");
  CHECK(place.host.total(0, mib(2)) == 100);
  CHECK(on_disk(dir) == std::vector<std::string>{"1 let tap v.0 go with its last fd"});
  make_owner_dead(dir);
  Recovered recovered = recover_dead(place.host, place.base);
  CHECK(recovered.left.size() == 1);
  transaction.opened().fds.clear();
  recovered = recover_dead(place.host, place.base);
  CHECK(recovered.names == std::vector<std::string>{"db"});
  CHECK(recovered.left.empty());
  CHECK(recover_dead(place.host, place.base).names.empty());
  CHECK(VmDir::all(place.base).empty());
}

TEST_CASE("a live owner's VM is left alone by recover") {
  Place place;
  const VmDir dir = place.claim("db");
  dir.journal().begin(0, TrimPool{0, mib(2), 50, 50});
  dir.journal().done(0);
  CHECK(recover_dead(place.host, place.base).names.empty());
  CHECK(place.host.total(0, mib(2)) == 100);
  make_owner_dead(dir);
  CHECK(recover_dead(place.host, place.base).names == std::vector<std::string>{"db"});
  CHECK(place.host.total(0, mib(2)) == 50);
}

TEST_CASE("stopped dead in the middle of undoing, undoing again ends in the same state") {
  for (const fakes::When when : {fakes::When::before, fakes::When::after}) {
    for (std::size_t verb = 0; verb < 7; ++verb) {
      INFO("verb ", verb, std::string(when == fakes::When::before ? " before" : " after"), " its effect");
      Place place;
      const VmDir other = place.claim("other");  // whose raise must stay
      Transaction others(place.host, other, std::nullopt);
      others.perform(RaisePool{0, mib(2), 7});
      const VmDir dir = place.claim("db");
      {
        Transaction transaction(place.host, dir, std::nullopt);
        transaction.perform(RaisePool{0, mib(2), 28});
        transaction.perform(Listen{(dir.path() / "a.sock").string(), 10, false});
        transaction.perform(MakeTap{"v.0", "", std::nullopt, {11}});
        transaction.perform(MakeMacvtap{"v.1", "eth0", "bridge", "52:54:00:01:02:03", std::nullopt, {12}});
      }
      make_owner_dead(dir);
      place.host.heal();
      place.host.stop_dead_at(verb, when);
      try {
        (void)recover_dead(place.host, place.base);
      } catch (const fakes::StopDead&) {
      }
      place.host.heal();
      CHECK(recover_dead(place.host, place.base).left.empty());
      CHECK(recover_dead(place.host, place.base).names.empty());
      CHECK(place.host.total(0, mib(2)) == 107);
      CHECK(place.host.snapshot(place.base).find("macvtap") == std::string::npos);
      CHECK(!std::filesystem::exists(dir.path()));
      CHECK(std::filesystem::exists(other.path()));
    }
  }
}

TEST_CASE("a journal: a last line without its end was never begun; any other that cannot be read is told") {
  const std::string first = begin_line(0, DropTap{"a"});
  const std::string second = begin_line(1, DropTap{"b"});
  const auto read = [](const std::string& text) {
    const JournalText journal = parse_journal(text);
    CHECK(journal.unreadable.empty());
    return texts(journal);
  };
  const std::string a = "0 let tap a go with its last fd";
  const std::string b = "1 let tap b go with its last fd";
  CHECK(read("").empty());
  CHECK(read(first + second) == std::vector<std::string>{a, b});
  CHECK(read(first + second + "{\"version\":1,\"undone\":1}\n") == std::vector<std::string>{a});
  CHECK(read(first + second + "{\"version\":1,\"undone\":0}\n") == std::vector<std::string>{b});
  CHECK(read(first + "{\"version\":1,\"undone\":0}\n{\"version\":1,\"undone\":0}\n").empty());
  CHECK(read(second + first) == std::vector<std::string>{a, b});
  CHECK(read(first + "{\"version\":1,\"undone\":0}") == std::vector<std::string>{a});  // torn: not known
  CHECK(!parse_journal(first).owed.at(0).done);
  CHECK(parse_journal(first + "{\"version\":1,\"done\":0}\n").owed.at(0).done);
  CHECK(parse_journal(first + "{\"version\":1,\"undoing\":0,\"from\":178}\n").owed.at(0).begun == 178);
  for (std::size_t size = 0; size < second.size(); ++size) {
    INFO("torn after ", size, " bytes");
    CHECK(read(first + second.substr(0, size)) == std::vector<std::string>{a});
  }
  for (const std::string& junk : std::vector<std::string>{
           "\n", "{}\n", "[]\n", "nonsense\n", "{\"undo\":2}\n", "{\"undo\":2,\"step\":{\"burn_host\":{}}}\n",
           "{\"undo\":-1,\"step\":7}\n", "{\"undo\":1e99,\"step\":{\"drop_tap\":{\"name\":\"c\"}}}\n", "\xff\xfe\n",
           second.substr(0, second.size() / 2) + "\n", "{\"version\":2,\"begin\":1,\"undo\":{}}\n",
           "{\"version\":1,\"begin\":1,\"undo\":{\"start_qemu\":{}}}\n", "{\"version\":1,\"done\":7}\n",
           "{\"version\":\"1\",\"undone\":0}\n", std::string(3, '\0') + "\n"}) {
    INFO("with ", junk);
    const JournalText journal = parse_journal(first + junk + second);
    REQUIRE(journal.unreadable.size() == 1);
    CHECK(journal.unreadable[0].starts_with("line 2: "));
    CHECK(texts(journal) == std::vector<std::string>{a, b});
  }
}

TEST_CASE(
    "what cannot be read keeps the VM claimed with all it had: nothing is undone, and recover says so each time") {
  const std::string raise = begin_line(0, TrimPool{0, mib(2), 28, 72});
  for (const auto& [file, text] : std::vector<std::pair<std::string, std::string>>{
           {"journal", raise + "{\"version\":1,\"beg\n"},
           {"journal", raise + "{\"version\":2,\"begin\":1}\n"},
           {"journal", raise + begin_line(1, DropTap{"x"}).replace(26, 4, "burn")},
           {"owner", "{\"version\":7,\"pid\":1,\"start\":1}"},
           {"owner", "{\"pid\":\"one\"}"},
           {"owner", "{"},
           {"plan.json", "{\"version\":2}"},
           {"plan.json", "{\"reservation\":7}"}}) {
    INFO(file, ": ", text);
    Place place;
    const VmDir dir = place.claim("db");
    make_owner_dead(dir);
    fakes::write_file(dir.path() / "journal", raise + "{\"version\":1,\"done\":0}\n");
    fakes::write_file(dir.path() / file, text);
    for (int times = 0; times < 2; ++times) {
      const Recovered recovered = recover_dead(place.host, place.base);
      CHECK(recovered.names.empty());
      REQUIRE(recovered.left.size() == 1);
      CHECK(recovered.left[0].starts_with("db: " + (dir.path() / file).string() + ": "));
      CHECK(place.host.total(0, mib(2)) == 100);
      CHECK(std::filesystem::exists(dir.path() / file));
      CHECK_THROWS_WITH(read_reservations(place.base), doctest::Contains("what VM db has cannot be read"));
    }
  }
}

TEST_CASE("the journal is appended to, also after a torn line, which goes") {
  Place place;
  const VmDir dir = place.claim("db");
  dir.journal().begin(0, DropTap{"a"});
  fakes::write_file(dir.path() / "journal",
                    fakes::read_file(dir.path() / "journal") + "{\"version\":1,\"begin\":1,\"un");
  dir.journal().undone(0);
  CHECK(parse_journal(fakes::read_file(dir.path() / "journal")).unreadable.empty());
  CHECK(on_disk(dir).empty());
}

TEST_CASE("a trim that a crash cut off before its mark is not done twice") {
  Place place;
  place.host.change_pool({.node = 0, .page = mib(2), .total = 178});  // 28 ours, 50 somebody's
  const VmDir dir = place.claim("db");
  dir.journal().begin(0, TrimPool{0, mib(2), 28, 100});
  dir.journal().done(0);
  make_owner_dead(dir);
  place.host.stop_dead_at(0, fakes::When::after);  // the pool is written, the mark is not
  CHECK_THROWS_AS(recover_dead(place.host, place.base), fakes::StopDead);
  CHECK(place.host.total(0, mib(2)) == 150);
  place.host.heal();
  CHECK(recover_dead(place.host, place.base).left.empty());
  CHECK(place.host.total(0, mib(2)) == 150);
  CHECK(VmDir::all(place.base).empty());
}

TEST_CASE("a trim that a crash cut off, of a pool that others changed since, is told: how many pages may be left") {
  const auto told_of = [](std::uint64_t meanwhile) {
    Place place;
    place.host.change_pool({.node = 0, .page = mib(2), .total = 178});
    const VmDir dir = place.claim("db");
    dir.journal().begin(0, TrimPool{0, mib(2), 28, 100});
    dir.journal().done(0);
    make_owner_dead(dir);
    place.host.stop_dead_at(0, fakes::When::before);  // that it begins is written, the pool is not
    CHECK_THROWS_AS(recover_dead(place.host, place.base), fakes::StopDead);
    place.host.heal();
    place.host.change_pool({.node = 0, .page = mib(2), .total = meanwhile});
    const Recovered recovered = recover_dead(place.host, place.base);
    CHECK(recovered.left.empty());
    return std::pair(place.host.total(0, mib(2)), recovered.passed_over);
  };
  CHECK(told_of(178) == std::pair(std::uint64_t{150}, std::vector<std::string>{}));  // nobody did
  CHECK(told_of(150) == std::pair(std::uint64_t{150}, std::vector<std::string>{}));  // as if it had been written
  const auto [total, told] = told_of(200);
  CHECK(total == 200);
  REQUIRE(told.size() == 1);
  CHECK(
      told[0].starts_with("db: node 0's pool of 2M pages was changed by others while vmrun was killed giving back its "
                          "28: it has 200 pages, of which up to 28 may be left over"));
}

TEST_CASE("a raise that a crash cut off, of a pool that others took from since, is told, too") {
  Place place;
  place.host.change_pool({.node = 0, .page = mib(2), .total = 110});
  const VmDir dir = place.claim("db");
  dir.journal().begin(0, TrimPool{0, mib(2), 28, 100});  // it may have been 128, of which somebody took 18
  make_owner_dead(dir);
  const Recovered recovered = recover_dead(place.host, place.base);
  CHECK(place.host.total(0, mib(2)) == 100);
  REQUIRE(recovered.passed_over.size() == 1);
  CHECK(recovered.passed_over[0].find(
            "while vmrun was killed adding its 28: it has 110 pages, of which up to 18 may") != std::string::npos);
}

TEST_CASE("a foreign tap of the VM's tap's name: the launch is refused, nothing is left, and it can be tried again") {
  Place place;
  place.host.add_persistent_tap("v.0");
  const VmDir dir = place.claim("db");
  Transaction transaction(place.host, dir, std::nullopt);
  CHECK_THROWS(transaction.perform(MakeTap{"v.0", "", std::nullopt, {11}}));
  CHECK(on_disk(dir).empty());
  CHECK(unwind(place.host, dir, place.base).empty());
  CHECK(VmDir::claim(place.base, "db"));
}

TEST_CASE("with its directory gone, or its disk full, what a VM owes is still undone by the process that owes it") {
  Place place;
  const VmDir dir = place.claim("db");
  Transaction transaction(place.host, dir, std::nullopt);
  transaction.perform(RaisePool{0, mib(2), 28});
  std::filesystem::remove_all(dir.path());
  CHECK_THROWS(transaction.perform(RaisePool{0, mib(2), 5}));  // what cannot be written down is not done
  CHECK(place.host.total(0, mib(2)) == 128);
  CHECK(unwind(place.host, dir, place.base).empty());
  CHECK(place.host.total(0, mib(2)) == 100);
}
