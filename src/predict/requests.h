// Answers requests that come one after the other through a descriptor. This is where others put a server.
//
// A request is its length in bytes (u32, little-endian) and that many bytes. They are a PNG or JPEG file, or a raw
// tensor. A tensor is uint8 (C, H, W) where it has one byte for each number of a sample, and float32 where it has four
// (features, or images that have been normalised). Each is answered with one line of JSON, at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "predict/prediction.h"

namespace spankey {

inline constexpr std::size_t most_request_bytes = std::size_t{64} << 20;

// Reads until the other side closes the descriptor. A request that cannot be answered gets {"index", "error"}, and the
// next one is read. Error(bad_input) for a length above most_request_bytes and for an end within a request. Throws
// Error(requeue) where a request to stop came. `print` gets each line.
void answer_requests(int descriptor, const GatedNetwork& network, const PredictionWriter& writer, std::int64_t top,
                     const std::function<void(const std::string& line)>& print);

}  // namespace spankey
