// The judge and the others in one process.
#include "dist/heartbeat.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace spankey::heartbeat_test {
namespace {

using testing::HasSubstr;

constexpr double timeout_seconds = 0.4;
const RankState training{.collectives = 5, .waiting = true, .in_step = true, .place = "epoch 2, step 3, in all_reduce"};

class HeartbeatTest : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::future<std::unique_ptr<Heartbeat>>> joining;
    for (const int rank : {1, 2})
      joining.push_back(std::async(std::launch::async, join_heartbeat, rank, host_->invitation(), timeout_seconds));
    for (auto& guest : joining) {
      while (guest.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
        host_->accept_clients(std::chrono::milliseconds(1));
      guests_.push_back(guest.get());
      ASSERT_NE(guests_.back(), nullptr);
    }
    host_->stop_accepting();
  }

  // What `side` says within two timeouts, while the others go on.
  std::optional<RunEnd> listen(Heartbeat& side, const std::vector<Heartbeat*>& alive) {
    for (int i = 0; i < 80; ++i) {
      for (auto* rank : alive) rank->send(training);
      if (auto run_end = side.receive(training)) return run_end;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return {};
  }

  std::unique_ptr<HeartbeatHost> host_ = host_heartbeat(timeout_seconds);
  std::vector<std::unique_ptr<Heartbeat>> guests_;
};

TEST_F(HeartbeatTest, WhoSpeaksIsNotMissed) {
  EXPECT_FALSE(listen(*host_, {guests_[0].get(), guests_[1].get()}));
}

TEST_F(HeartbeatTest, SilenceIsNamedToAll) {
  guests_[1]->send(training);
  const auto run_end = listen(*host_, {guests_[0].get(), host_.get()});
  ASSERT_TRUE(run_end);
  EXPECT_EQ(run_end->exit_code, 3);
  EXPECT_THAT(run_end->sentence, HasSubstr("rank 2 has given no sign of life"));
  EXPECT_THAT(run_end->sentence, HasSubstr("epoch 2, step 3, in all_reduce"));
  const auto told = listen(*guests_[0], {});
  ASSERT_TRUE(told);
  EXPECT_EQ(told->sentence, run_end->sentence);
}

TEST_F(HeartbeatTest, SilenceOfASuspendedProcessIsForgiven) {
  std::this_thread::sleep_for(std::chrono::duration<double>(1.5 * timeout_seconds));
  host_->extend_deadlines(std::chrono::seconds(1));
  EXPECT_FALSE(host_->receive(training));
}

TEST_F(HeartbeatTest, AClosedConnectionIsALossAtOnceUnlessItSaidFarewell) {
  guests_[0]->leave();
  guests_[0].reset();
  EXPECT_FALSE(listen(*host_, {guests_[1].get()}));
  guests_[1].reset();
  const auto run_end = listen(*host_, {});
  ASSERT_TRUE(run_end);
  EXPECT_THAT(run_end->sentence, HasSubstr("rank 2 is gone"));
}

TEST_F(HeartbeatTest, TheLostJudgeIsNamedByTheOthers) {
  host_.reset();
  const auto run_end = listen(*guests_[1], {});
  ASSERT_TRUE(run_end);
  EXPECT_THAT(run_end->sentence, HasSubstr("rank 0 is gone"));
}

TEST_F(HeartbeatTest, AComplaintNamesWhoHasEnteredTheFewestCollectives) {
  auto late = training;
  late.collectives = 4;
  late.place = "epoch 2, step 3, at work";
  guests_[0]->send(late);
  guests_[1]->complain(training);
  const auto run_end = listen(*host_, {});
  ASSERT_TRUE(run_end);
  EXPECT_THAT(run_end->sentence, HasSubstr("1 of 3 ranks late: rank 1 (at epoch 2, step 3, at work)"));
}

TEST_F(HeartbeatTest, OfTheSameCollectiveTheOneAtWorkIsLate) {
  auto late = training;
  late.waiting = false;
  guests_[1]->send(late);
  guests_[0]->complain(training);
  const auto run_end = listen(*host_, {});
  ASSERT_TRUE(run_end);
  EXPECT_THAT(run_end->sentence, HasSubstr("1 of 3 ranks late: rank 2"));
}

TEST_F(HeartbeatTest, AnAnnouncedEndReachesTheOthersWithItsCode) {
  guests_[0]->announce({75, "rank 1 has had enough"});
  ASSERT_TRUE(listen(*host_, {}));
  const auto run_end = listen(*guests_[1], {});
  ASSERT_TRUE(run_end);
  EXPECT_EQ(run_end->exit_code, 75);
  EXPECT_EQ(run_end->sentence, "rank 1 has had enough");
}

TEST(HeartbeatDoor, AStrangerIsNotLetIn) {
  const auto host = host_heartbeat(timeout_seconds);
  auto invitation = host->invitation();
  ++invitation.secret;
  auto joining = std::async(std::launch::async, join_heartbeat, 1, invitation, timeout_seconds);
  while (joining.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
    host->accept_clients(std::chrono::milliseconds(1));
  EXPECT_EQ(joining.get(), nullptr);
  host->stop_accepting();
  pollfd heard{host->descriptor(), POLLIN, 0};
  EXPECT_EQ(poll(&heard, 1, 0), 0);
  EXPECT_FALSE(host->receive(training));
}

TEST(HeartbeatDoor, WithoutAnybodyThereJoiningGivesUp) {
  HeartbeatInvitation nobody;
  nobody.port = htons(1);
  nobody.address_count = 1;
  nobody.addresses[0] = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(join_heartbeat(1, nobody, timeout_seconds), nullptr);
}

}  // namespace
}  // namespace spankey::heartbeat_test
