// Rank 0 makes or loads the secret basis and hands it to the others; all ranks are held to what they must share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "record/run_directory.h"
#include "spankey/keys/basis.h"
#include "train/cursor.h"
#include "train/named_tensor.h"

namespace spankey {

struct Experiment;

class Coordinator {
 public:
  Coordinator(const Experiment& experiment, Communicator& communicator);

  // The basis of the run: from secret/basis.h5 where it exists, otherwise made (from key.seed, or from the operating
  // system's entropy with key.private) and stored there with mode 0600. `expected_digest`: of the checkpoint that is
  // being resumed, empty for a new run. `check_origin`: the configuration may have changed since the file was made, and
  // Error(bad_input) says where it tells of another basis. Collective; every rank returns the same tensors.
  Basis obtain_basis(const RunDirectory& directory, const std::string& expected_digest, bool check_origin);

  // Collective. Throws AgreedError(run_failed) that names the thing and the ranks that differ from rank 0: in the
  // configuration, the data, the layout of the network, the cursor, the basis or the weights, by SHA-256.
  void audit(const Basis& basis, const Cursor& cursor);
  // The same of what changes while a run goes on, by checksum: cursor, basis and weights. For ResNet-18 a twentieth of
  // the time.
  void audit_by_checksum(const Basis& basis, const Cursor& cursor);

 private:
  std::vector<Claim> claims_of_experiment() const;

  const Experiment& experiment_;
  Communicator& communicator_;
};

}  // namespace spankey
