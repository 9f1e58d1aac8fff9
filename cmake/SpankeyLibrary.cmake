# spankey_library(<layer> SOURCES ... LINK ... [TORCH])
# One static library per folder of src/. TORCH: uses LibTorch and the shared precompiled header.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cpp CONTENT "")
add_library(spankey_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cpp)
target_link_libraries(spankey_precompiled PUBLIC spankey_options libtorch fmt::fmt)
target_precompile_headers(spankey_precompiled PRIVATE
  <ATen/ATen.h> <torch/nn/module.h> <torch/utils.h> <algorithm> <array> <chrono> <cstdint> <filesystem> <functional> <map> <memory>
  <optional> <span> <string> <string_view> <utility> <vector>)

function(spankey_use_torch target)
  target_link_libraries(${target} PUBLIC libtorch)
  target_precompile_headers(${target} REUSE_FROM spankey_precompiled)
  # GCC takes a precompiled header only under the flags it was made with: -fPIC for executables too, not -fPIE.
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
endfunction()

function(spankey_library layer)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;LINK" ${ARGN})
  add_library(spankey_${layer} STATIC ${arg_SOURCES})
  target_include_directories(spankey_${layer} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(spankey_${layer} PUBLIC ${arg_LINK} fmt::fmt PRIVATE spankey_options)
  if(arg_TORCH)
    spankey_use_torch(spankey_${layer})
  else()
    # Unity builds (release preset) save reading the precompiled header for each file; there is none to read here.
    set_target_properties(spankey_${layer} PROPERTIES UNITY_BUILD OFF)
  endif()
endfunction()
