# pyright: basic
import datetime

from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PostModelOutputsRequest(_message.Message):
    __slots__ = ("user_app_id", "model_id", "version_id", "inputs", "model", "runner_selector")
    USER_APP_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RUNNER_SELECTOR_FIELD_NUMBER: _ClassVar[int]
    user_app_id: UserAppIDSet
    model_id: str
    version_id: str
    inputs: _containers.RepeatedCompositeFieldContainer[Input]
    model: Model
    runner_selector: RunnerSelector
    def __init__(self, user_app_id: _Optional[_Union[UserAppIDSet, _Mapping]] = ..., model_id: _Optional[str] = ..., version_id: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[Input, _Mapping]]] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., runner_selector: _Optional[_Union[RunnerSelector, _Mapping]] = ...) -> None: ...

class MultiOutputResponse(_message.Message):
    __slots__ = ("status", "outputs", "runner_selector")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    RUNNER_SELECTOR_FIELD_NUMBER: _ClassVar[int]
    status: Status
    outputs: _containers.RepeatedCompositeFieldContainer[Output]
    runner_selector: RunnerSelector
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ..., outputs: _Optional[_Iterable[_Union[Output, _Mapping]]] = ..., runner_selector: _Optional[_Union[RunnerSelector, _Mapping]] = ...) -> None: ...

class Input(_message.Message):
    __slots__ = ("id", "data", "created_at", "status")
    ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: str
    data: Data
    created_at: _timestamp_pb2.Timestamp
    status: Status
    def __init__(self, id: _Optional[str] = ..., data: _Optional[_Union[Data, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("id", "status", "created_at", "model", "input", "data", "prompt_tokens", "completion_tokens", "cached_tokens")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: Status
    created_at: _timestamp_pb2.Timestamp
    model: Model
    input: Input
    data: Data
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model: _Optional[_Union[Model, _Mapping]] = ..., input: _Optional[_Union[Input, _Mapping]] = ..., data: _Optional[_Union[Data, _Mapping]] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("code", "description", "details", "stack_trace", "percent_completed", "time_remaining", "req_id", "internal_details", "developer_notes", "http_status_code")
    CODE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    STACK_TRACE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    TIME_REMAINING_FIELD_NUMBER: _ClassVar[int]
    REQ_ID_FIELD_NUMBER: _ClassVar[int]
    INTERNAL_DETAILS_FIELD_NUMBER: _ClassVar[int]
    DEVELOPER_NOTES_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_CODE_FIELD_NUMBER: _ClassVar[int]
    code: int
    description: str
    details: str
    stack_trace: _containers.RepeatedScalarFieldContainer[str]
    percent_completed: int
    time_remaining: int
    req_id: str
    internal_details: str
    developer_notes: str
    http_status_code: int
    def __init__(self, code: _Optional[int] = ..., description: _Optional[str] = ..., details: _Optional[str] = ..., stack_trace: _Optional[_Iterable[str]] = ..., percent_completed: _Optional[int] = ..., time_remaining: _Optional[int] = ..., req_id: _Optional[str] = ..., internal_details: _Optional[str] = ..., developer_notes: _Optional[str] = ..., http_status_code: _Optional[int] = ...) -> None: ...

class Data(_message.Message):
    __slots__ = ("image", "video", "concepts", "metadata", "embeddings", "regions", "frames", "text", "audio", "heatmaps", "parts", "ndarray", "int_value", "float_value", "bytes_value", "bool_value", "string_value", "struct_value")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    CONCEPTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    HEATMAPS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    NDARRAY_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    FLOAT_VALUE_FIELD_NUMBER: _ClassVar[int]
    BYTES_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRUCT_VALUE_FIELD_NUMBER: _ClassVar[int]
    image: Image
    video: Video
    concepts: _containers.RepeatedCompositeFieldContainer[Concept]
    metadata: _struct_pb2.Struct
    embeddings: _containers.RepeatedCompositeFieldContainer[Embedding]
    regions: _containers.RepeatedCompositeFieldContainer[Region]
    frames: _containers.RepeatedCompositeFieldContainer[Frame]
    text: Text
    audio: Audio
    heatmaps: _containers.RepeatedCompositeFieldContainer[Image]
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    ndarray: NDArray
    int_value: int
    float_value: float
    bytes_value: bytes
    bool_value: bool
    string_value: str
    struct_value: _struct_pb2.Struct
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., video: _Optional[_Union[Video, _Mapping]] = ..., concepts: _Optional[_Iterable[_Union[Concept, _Mapping]]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., embeddings: _Optional[_Iterable[_Union[Embedding, _Mapping]]] = ..., regions: _Optional[_Iterable[_Union[Region, _Mapping]]] = ..., frames: _Optional[_Iterable[_Union[Frame, _Mapping]]] = ..., text: _Optional[_Union[Text, _Mapping]] = ..., audio: _Optional[_Union[Audio, _Mapping]] = ..., heatmaps: _Optional[_Iterable[_Union[Image, _Mapping]]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., ndarray: _Optional[_Union[NDArray, _Mapping]] = ..., int_value: _Optional[int] = ..., float_value: _Optional[float] = ..., bytes_value: _Optional[bytes] = ..., bool_value: _Optional[bool] = ..., string_value: _Optional[str] = ..., struct_value: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("data", "id")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    data: Data
    id: str
    def __init__(self, data: _Optional[_Union[Data, _Mapping]] = ..., id: _Optional[str] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("vector", "num_dimensions")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    NUM_DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    vector: _containers.RepeatedScalarFieldContainer[float]
    num_dimensions: int
    def __init__(self, vector: _Optional[_Iterable[float]] = ..., num_dimensions: _Optional[int] = ...) -> None: ...

class Text(_message.Message):
    __slots__ = ("raw", "url")
    RAW_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    raw: str
    url: str
    def __init__(self, raw: _Optional[str] = ..., url: _Optional[str] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("url", "base64")
    URL_FIELD_NUMBER: _ClassVar[int]
    BASE64_FIELD_NUMBER: _ClassVar[int]
    url: str
    base64: bytes
    def __init__(self, url: _Optional[str] = ..., base64: _Optional[bytes] = ...) -> None: ...

class Audio(_message.Message):
    __slots__ = ("url", "base64")
    URL_FIELD_NUMBER: _ClassVar[int]
    BASE64_FIELD_NUMBER: _ClassVar[int]
    url: str
    base64: bytes
    def __init__(self, url: _Optional[str] = ..., base64: _Optional[bytes] = ...) -> None: ...

class Video(_message.Message):
    __slots__ = ("url", "base64")
    URL_FIELD_NUMBER: _ClassVar[int]
    BASE64_FIELD_NUMBER: _ClassVar[int]
    url: str
    base64: bytes
    def __init__(self, url: _Optional[str] = ..., base64: _Optional[bytes] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("frame_info", "data", "id")
    FRAME_INFO_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    frame_info: FrameInfo
    data: Data
    id: str
    def __init__(self, frame_info: _Optional[_Union[FrameInfo, _Mapping]] = ..., data: _Optional[_Union[Data, _Mapping]] = ..., id: _Optional[str] = ...) -> None: ...

class FrameInfo(_message.Message):
    __slots__ = ("index", "time", "number")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    index: int
    time: int
    number: int
    def __init__(self, index: _Optional[int] = ..., time: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("id", "region_info", "data", "value", "track_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    REGION_INFO_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TRACK_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    region_info: RegionInfo
    data: Data
    value: float
    track_id: str
    def __init__(self, id: _Optional[str] = ..., region_info: _Optional[_Union[RegionInfo, _Mapping]] = ..., data: _Optional[_Union[Data, _Mapping]] = ..., value: _Optional[float] = ..., track_id: _Optional[str] = ...) -> None: ...

class RegionInfo(_message.Message):
    __slots__ = ("bounding_box", "mask", "polygon", "point")
    BOUNDING_BOX_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    POLYGON_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    bounding_box: BoundingBox
    mask: Mask
    polygon: Polygon
    point: Point
    def __init__(self, bounding_box: _Optional[_Union[BoundingBox, _Mapping]] = ..., mask: _Optional[_Union[Mask, _Mapping]] = ..., polygon: _Optional[_Union[Polygon, _Mapping]] = ..., point: _Optional[_Union[Point, _Mapping]] = ...) -> None: ...

class BoundingBox(_message.Message):
    __slots__ = ("top_row", "left_col", "bottom_row", "right_col")
    TOP_ROW_FIELD_NUMBER: _ClassVar[int]
    LEFT_COL_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_ROW_FIELD_NUMBER: _ClassVar[int]
    RIGHT_COL_FIELD_NUMBER: _ClassVar[int]
    top_row: float
    left_col: float
    bottom_row: float
    right_col: float
    def __init__(self, top_row: _Optional[float] = ..., left_col: _Optional[float] = ..., bottom_row: _Optional[float] = ..., right_col: _Optional[float] = ...) -> None: ...

class Mask(_message.Message):
    __slots__ = ("image",)
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    image: Image
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...

class Polygon(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedCompositeFieldContainer[Point]
    def __init__(self, points: _Optional[_Iterable[_Union[Point, _Mapping]]] = ...) -> None: ...

class Point(_message.Message):
    __slots__ = ("row", "col", "z", "visibility")
    class Visibility(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NOT_SET: _ClassVar[Point.Visibility]
        VISIBLE: _ClassVar[Point.Visibility]
        NOT_VISIBLE: _ClassVar[Point.Visibility]
        NOT_PRESENT: _ClassVar[Point.Visibility]
    NOT_SET: Point.Visibility
    VISIBLE: Point.Visibility
    NOT_VISIBLE: Point.Visibility
    NOT_PRESENT: Point.Visibility
    ROW_FIELD_NUMBER: _ClassVar[int]
    COL_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    row: float
    col: float
    z: float
    visibility: Point.Visibility
    def __init__(self, row: _Optional[float] = ..., col: _Optional[float] = ..., z: _Optional[float] = ..., visibility: _Optional[_Union[Point.Visibility, str]] = ...) -> None: ...

class Concept(_message.Message):
    __slots__ = ("id", "name", "value")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    value: float
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class NDArray(_message.Message):
    __slots__ = ("buffer", "shape", "dtype")
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    buffer: bytes
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    def __init__(self, buffer: _Optional[bytes] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ...) -> None: ...

class UserAppIDSet(_message.Message):
    __slots__ = ("user_id", "app_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    APP_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    app_id: str
    def __init__(self, user_id: _Optional[str] = ..., app_id: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("id", "name", "created_at", "app_id", "model_version", "display_name", "user_id", "model_type_id", "description", "modified_at", "version_count")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    APP_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_AT_FIELD_NUMBER: _ClassVar[int]
    VERSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    created_at: _timestamp_pb2.Timestamp
    app_id: str
    model_version: ModelVersion
    display_name: str
    user_id: str
    model_type_id: str
    description: str
    modified_at: _timestamp_pb2.Timestamp
    version_count: int
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., app_id: _Optional[str] = ..., model_version: _Optional[_Union[ModelVersion, _Mapping]] = ..., display_name: _Optional[str] = ..., user_id: _Optional[str] = ..., model_type_id: _Optional[str] = ..., description: _Optional[str] = ..., modified_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., version_count: _Optional[int] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("id", "created_at", "status", "description", "app_id", "user_id", "output_info", "method_signatures", "num_threads")
    ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    APP_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_INFO_FIELD_NUMBER: _ClassVar[int]
    METHOD_SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    NUM_THREADS_FIELD_NUMBER: _ClassVar[int]
    id: str
    created_at: _timestamp_pb2.Timestamp
    status: Status
    description: str
    app_id: str
    user_id: str
    output_info: OutputInfo
    method_signatures: _containers.RepeatedCompositeFieldContainer[MethodSignature]
    num_threads: int
    def __init__(self, id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., description: _Optional[str] = ..., app_id: _Optional[str] = ..., user_id: _Optional[str] = ..., output_info: _Optional[_Union[OutputInfo, _Mapping]] = ..., method_signatures: _Optional[_Iterable[_Union[MethodSignature, _Mapping]]] = ..., num_threads: _Optional[int] = ...) -> None: ...

class OutputInfo(_message.Message):
    __slots__ = ("output_config", "params")
    OUTPUT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    output_config: OutputConfig
    params: _struct_pb2.Struct
    def __init__(self, output_config: _Optional[_Union[OutputConfig, _Mapping]] = ..., params: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class OutputConfig(_message.Message):
    __slots__ = ("max_concepts", "min_value", "select_concepts", "sample_ms")
    MAX_CONCEPTS_FIELD_NUMBER: _ClassVar[int]
    MIN_VALUE_FIELD_NUMBER: _ClassVar[int]
    SELECT_CONCEPTS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_MS_FIELD_NUMBER: _ClassVar[int]
    max_concepts: int
    min_value: float
    select_concepts: _containers.RepeatedCompositeFieldContainer[Concept]
    sample_ms: int
    def __init__(self, max_concepts: _Optional[int] = ..., min_value: _Optional[float] = ..., select_concepts: _Optional[_Iterable[_Union[Concept, _Mapping]]] = ..., sample_ms: _Optional[int] = ...) -> None: ...

class MethodSignature(_message.Message):
    __slots__ = ("name", "method_type", "description", "input_fields", "output_fields")
    class MethodType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[MethodSignature.MethodType]
        UNARY_UNARY: _ClassVar[MethodSignature.MethodType]
        UNARY_STREAMING: _ClassVar[MethodSignature.MethodType]
        STREAMING_UNARY: _ClassVar[MethodSignature.MethodType]
        STREAMING_STREAMING: _ClassVar[MethodSignature.MethodType]
    UNKNOWN: MethodSignature.MethodType
    UNARY_UNARY: MethodSignature.MethodType
    UNARY_STREAMING: MethodSignature.MethodType
    STREAMING_UNARY: MethodSignature.MethodType
    STREAMING_STREAMING: MethodSignature.MethodType
    NAME_FIELD_NUMBER: _ClassVar[int]
    METHOD_TYPE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELDS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    method_type: MethodSignature.MethodType
    description: str
    input_fields: _containers.RepeatedCompositeFieldContainer[ModelTypeField]
    output_fields: _containers.RepeatedCompositeFieldContainer[ModelTypeField]
    def __init__(self, name: _Optional[str] = ..., method_type: _Optional[_Union[MethodSignature.MethodType, str]] = ..., description: _Optional[str] = ..., input_fields: _Optional[_Iterable[_Union[ModelTypeField, _Mapping]]] = ..., output_fields: _Optional[_Iterable[_Union[ModelTypeField, _Mapping]]] = ...) -> None: ...

class ModelTypeField(_message.Message):
    __slots__ = ("path", "field_type", "default_value", "description", "placeholder", "model_type_enum_options", "required", "model_type_range_info", "name", "type", "type_args", "iterator", "default", "is_param")
    class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NOT_SET: _ClassVar[ModelTypeField.DataType]
        STR: _ClassVar[ModelTypeField.DataType]
        BYTES: _ClassVar[ModelTypeField.DataType]
        INT: _ClassVar[ModelTypeField.DataType]
        FLOAT: _ClassVar[ModelTypeField.DataType]
        BOOL: _ClassVar[ModelTypeField.DataType]
        NDARRAY: _ClassVar[ModelTypeField.DataType]
        JSON_DATA: _ClassVar[ModelTypeField.DataType]
        TEXT: _ClassVar[ModelTypeField.DataType]
        IMAGE: _ClassVar[ModelTypeField.DataType]
        CONCEPT: _ClassVar[ModelTypeField.DataType]
        REGION: _ClassVar[ModelTypeField.DataType]
        FRAME: _ClassVar[ModelTypeField.DataType]
        AUDIO: _ClassVar[ModelTypeField.DataType]
        VIDEO: _ClassVar[ModelTypeField.DataType]
        NAMED_FIELDS: _ClassVar[ModelTypeField.DataType]
        TUPLE: _ClassVar[ModelTypeField.DataType]
        LIST: _ClassVar[ModelTypeField.DataType]
    NOT_SET: ModelTypeField.DataType
    STR: ModelTypeField.DataType
    BYTES: ModelTypeField.DataType
    INT: ModelTypeField.DataType
    FLOAT: ModelTypeField.DataType
    BOOL: ModelTypeField.DataType
    NDARRAY: ModelTypeField.DataType
    JSON_DATA: ModelTypeField.DataType
    TEXT: ModelTypeField.DataType
    IMAGE: ModelTypeField.DataType
    CONCEPT: ModelTypeField.DataType
    REGION: ModelTypeField.DataType
    FRAME: ModelTypeField.DataType
    AUDIO: ModelTypeField.DataType
    VIDEO: ModelTypeField.DataType
    NAMED_FIELDS: ModelTypeField.DataType
    TUPLE: ModelTypeField.DataType
    LIST: ModelTypeField.DataType
    PATH_FIELD_NUMBER: _ClassVar[int]
    FIELD_TYPE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PLACEHOLDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_ENUM_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_RANGE_INFO_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TYPE_ARGS_FIELD_NUMBER: _ClassVar[int]
    ITERATOR_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    IS_PARAM_FIELD_NUMBER: _ClassVar[int]
    path: str
    field_type: int
    default_value: _struct_pb2.Value
    description: str
    placeholder: str
    model_type_enum_options: _containers.RepeatedCompositeFieldContainer[ModelTypeEnumOption]
    required: bool
    model_type_range_info: ModelTypeRangeInfo
    name: str
    type: ModelTypeField.DataType
    type_args: _containers.RepeatedCompositeFieldContainer[ModelTypeField]
    iterator: bool
    default: str
    is_param: bool
    def __init__(self, path: _Optional[str] = ..., field_type: _Optional[int] = ..., default_value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., description: _Optional[str] = ..., placeholder: _Optional[str] = ..., model_type_enum_options: _Optional[_Iterable[_Union[ModelTypeEnumOption, _Mapping]]] = ..., required: _Optional[bool] = ..., model_type_range_info: _Optional[_Union[ModelTypeRangeInfo, _Mapping]] = ..., name: _Optional[str] = ..., type: _Optional[_Union[ModelTypeField.DataType, str]] = ..., type_args: _Optional[_Iterable[_Union[ModelTypeField, _Mapping]]] = ..., iterator: _Optional[bool] = ..., default: _Optional[str] = ..., is_param: _Optional[bool] = ...) -> None: ...

class ModelTypeRangeInfo(_message.Message):
    __slots__ = ("min", "max", "step")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    min: float
    max: float
    step: float
    def __init__(self, min: _Optional[float] = ..., max: _Optional[float] = ..., step: _Optional[float] = ...) -> None: ...

class ModelTypeEnumOption(_message.Message):
    __slots__ = ("id", "description")
    ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    id: str
    description: str
    def __init__(self, id: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class ModelType(_message.Message):
    __slots__ = ("id", "title", "input_fields", "output_fields")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELDS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    input_fields: _containers.RepeatedScalarFieldContainer[str]
    output_fields: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., input_fields: _Optional[_Iterable[str]] = ..., output_fields: _Optional[_Iterable[str]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("user_app_id", "model_id", "version_id")
    USER_APP_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    user_app_id: UserAppIDSet
    model_id: str
    version_id: str
    def __init__(self, user_app_id: _Optional[_Union[UserAppIDSet, _Mapping]] = ..., model_id: _Optional[str] = ..., version_id: _Optional[str] = ...) -> None: ...

class SingleModelResponse(_message.Message):
    __slots__ = ("status", "model")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    status: Status
    model: Model
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ..., model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class GetModelVersionRequest(_message.Message):
    __slots__ = ("user_app_id", "model_id", "version_id")
    USER_APP_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    user_app_id: UserAppIDSet
    model_id: str
    version_id: str
    def __init__(self, user_app_id: _Optional[_Union[UserAppIDSet, _Mapping]] = ..., model_id: _Optional[str] = ..., version_id: _Optional[str] = ...) -> None: ...

class SingleModelVersionResponse(_message.Message):
    __slots__ = ("status", "model_version")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    status: Status
    model_version: ModelVersion
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ..., model_version: _Optional[_Union[ModelVersion, _Mapping]] = ...) -> None: ...

class ListModelVersionsRequest(_message.Message):
    __slots__ = ("user_app_id", "model_id", "page", "per_page")
    USER_APP_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    PER_PAGE_FIELD_NUMBER: _ClassVar[int]
    user_app_id: UserAppIDSet
    model_id: str
    page: int
    per_page: int
    def __init__(self, user_app_id: _Optional[_Union[UserAppIDSet, _Mapping]] = ..., model_id: _Optional[str] = ..., page: _Optional[int] = ..., per_page: _Optional[int] = ...) -> None: ...

class MultiModelVersionResponse(_message.Message):
    __slots__ = ("status", "model_versions")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    status: Status
    model_versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ..., model_versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ...) -> None: ...

class GetModelTypeRequest(_message.Message):
    __slots__ = ("user_app_id", "model_type_id")
    USER_APP_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_ID_FIELD_NUMBER: _ClassVar[int]
    user_app_id: UserAppIDSet
    model_type_id: str
    def __init__(self, user_app_id: _Optional[_Union[UserAppIDSet, _Mapping]] = ..., model_type_id: _Optional[str] = ...) -> None: ...

class SingleModelTypeResponse(_message.Message):
    __slots__ = ("status", "model_type")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    status: Status
    model_type: ModelType
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ..., model_type: _Optional[_Union[ModelType, _Mapping]] = ...) -> None: ...

class GetUserRequest(_message.Message):
    __slots__ = ("user_app_id",)
    USER_APP_ID_FIELD_NUMBER: _ClassVar[int]
    user_app_id: UserAppIDSet
    def __init__(self, user_app_id: _Optional[_Union[UserAppIDSet, _Mapping]] = ...) -> None: ...

class SingleUserResponse(_message.Message):
    __slots__ = ("status", "user")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    status: Status
    user: User
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ..., user: _Optional[_Union[User, _Mapping]] = ...) -> None: ...

class User(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetDeploymentRequest(_message.Message):
    __slots__ = ("user_app_id", "deployment_id")
    USER_APP_ID_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    user_app_id: UserAppIDSet
    deployment_id: str
    def __init__(self, user_app_id: _Optional[_Union[UserAppIDSet, _Mapping]] = ..., deployment_id: _Optional[str] = ...) -> None: ...

class SingleDeploymentResponse(_message.Message):
    __slots__ = ("status", "deployment")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    status: Status
    deployment: Deployment
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ..., deployment: _Optional[_Union[Deployment, _Mapping]] = ...) -> None: ...

class GetNodepoolRequest(_message.Message):
    __slots__ = ("user_app_id", "compute_cluster_id", "nodepool_id")
    USER_APP_ID_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    NODEPOOL_ID_FIELD_NUMBER: _ClassVar[int]
    user_app_id: UserAppIDSet
    compute_cluster_id: str
    nodepool_id: str
    def __init__(self, user_app_id: _Optional[_Union[UserAppIDSet, _Mapping]] = ..., compute_cluster_id: _Optional[str] = ..., nodepool_id: _Optional[str] = ...) -> None: ...

class SingleNodepoolResponse(_message.Message):
    __slots__ = ("status", "nodepool")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    NODEPOOL_FIELD_NUMBER: _ClassVar[int]
    status: Status
    nodepool: Nodepool
    def __init__(self, status: _Optional[_Union[Status, _Mapping]] = ..., nodepool: _Optional[_Union[Nodepool, _Mapping]] = ...) -> None: ...

class RunnerSelector(_message.Message):
    __slots__ = ("nodepool", "deployment")
    NODEPOOL_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    nodepool: Nodepool
    deployment: Deployment
    def __init__(self, nodepool: _Optional[_Union[Nodepool, _Mapping]] = ..., deployment: _Optional[_Union[Deployment, _Mapping]] = ...) -> None: ...

class Deployment(_message.Message):
    __slots__ = ("id", "user_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    user_id: str
    def __init__(self, id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class Nodepool(_message.Message):
    __slots__ = ("id", "compute_cluster")
    ID_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_CLUSTER_FIELD_NUMBER: _ClassVar[int]
    id: str
    compute_cluster: ComputeCluster
    def __init__(self, id: _Optional[str] = ..., compute_cluster: _Optional[_Union[ComputeCluster, _Mapping]] = ...) -> None: ...

class ComputeCluster(_message.Message):
    __slots__ = ("id", "user_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    user_id: str
    def __init__(self, id: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class RpcStatus(_message.Message):
    __slots__ = ("code", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ...) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ("kind", "message", "details", "path")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    kind: str
    message: str
    details: str
    path: str
    def __init__(self, kind: _Optional[str] = ..., message: _Optional[str] = ..., details: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class GetStatisticsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Statistics(_message.Message):
    __slots__ = ("at", "waiting_calls", "waiting_bytes", "lanes", "replicas", "methods", "points", "cancel_latency_seconds", "tasks", "restarts_total", "retries_total", "poison_total", "cancellations_total")
    AT_FIELD_NUMBER: _ClassVar[int]
    WAITING_CALLS_FIELD_NUMBER: _ClassVar[int]
    WAITING_BYTES_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_LATENCY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    RETRIES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    POISON_TOTAL_FIELD_NUMBER: _ClassVar[int]
    CANCELLATIONS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    at: float
    waiting_calls: int
    waiting_bytes: int
    lanes: _containers.RepeatedCompositeFieldContainer[LaneStatistics]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaStatistics]
    methods: _containers.RepeatedCompositeFieldContainer[MethodStatistics]
    points: _containers.RepeatedCompositeFieldContainer[PointStatistics]
    cancel_latency_seconds: Latency
    tasks: int
    restarts_total: int
    retries_total: int
    poison_total: int
    cancellations_total: int
    def __init__(self, at: _Optional[float] = ..., waiting_calls: _Optional[int] = ..., waiting_bytes: _Optional[int] = ..., lanes: _Optional[_Iterable[_Union[LaneStatistics, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[ReplicaStatistics, _Mapping]]] = ..., methods: _Optional[_Iterable[_Union[MethodStatistics, _Mapping]]] = ..., points: _Optional[_Iterable[_Union[PointStatistics, _Mapping]]] = ..., cancel_latency_seconds: _Optional[_Union[Latency, _Mapping]] = ..., tasks: _Optional[int] = ..., restarts_total: _Optional[int] = ..., retries_total: _Optional[int] = ..., poison_total: _Optional[int] = ..., cancellations_total: _Optional[int] = ...) -> None: ...

class Latency(_message.Message):
    __slots__ = ("count", "total", "p50", "p99", "longest")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    P50_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    LONGEST_FIELD_NUMBER: _ClassVar[int]
    count: int
    total: float
    p50: float
    p99: float
    longest: float
    def __init__(self, count: _Optional[int] = ..., total: _Optional[float] = ..., p50: _Optional[float] = ..., p99: _Optional[float] = ..., longest: _Optional[float] = ...) -> None: ...

class LaneStatistics(_message.Message):
    __slots__ = ("lane", "waiting", "oldest_seconds")
    LANE_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    OLDEST_SECONDS_FIELD_NUMBER: _ClassVar[int]
    lane: str
    waiting: int
    oldest_seconds: float
    def __init__(self, lane: _Optional[str] = ..., waiting: _Optional[int] = ..., oldest_seconds: _Optional[float] = ...) -> None: ...

class ReplicaStatistics(_message.Message):
    __slots__ = ("name", "label", "state", "running", "busy_seconds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    BUSY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    name: int
    label: str
    state: str
    running: int
    busy_seconds: float
    def __init__(self, name: _Optional[int] = ..., label: _Optional[str] = ..., state: _Optional[str] = ..., running: _Optional[int] = ..., busy_seconds: _Optional[float] = ...) -> None: ...

class MethodStatistics(_message.Message):
    __slots__ = ("name", "ended", "failed", "refused", "took", "waited", "first_item")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    TOOK_FIELD_NUMBER: _ClassVar[int]
    WAITED_FIELD_NUMBER: _ClassVar[int]
    FIRST_ITEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    ended: int
    failed: int
    refused: int
    took: Histogram
    waited: Histogram
    first_item: Histogram
    def __init__(self, name: _Optional[str] = ..., ended: _Optional[int] = ..., failed: _Optional[int] = ..., refused: _Optional[int] = ..., took: _Optional[_Union[Histogram, _Mapping]] = ..., waited: _Optional[_Union[Histogram, _Mapping]] = ..., first_item: _Optional[_Union[Histogram, _Mapping]] = ...) -> None: ...

class Histogram(_message.Message):
    __slots__ = ("counts", "total_seconds")
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    total_seconds: float
    def __init__(self, counts: _Optional[_Iterable[int]] = ..., total_seconds: _Optional[float] = ...) -> None: ...

class PointStatistics(_message.Message):
    __slots__ = ("name", "batches", "entries", "cost", "seconds", "device_seconds", "reasons", "sizes", "longest_wait_seconds", "oom_splits_total", "latest")
    class ReasonsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class SizesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    LONGEST_WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OOM_SPLITS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    batches: int
    entries: int
    cost: float
    seconds: float
    device_seconds: float
    reasons: _containers.ScalarMap[str, int]
    sizes: _containers.ScalarMap[int, int]
    longest_wait_seconds: float
    oom_splits_total: int
    latest: BatchStatistics
    def __init__(self, name: _Optional[str] = ..., batches: _Optional[int] = ..., entries: _Optional[int] = ..., cost: _Optional[float] = ..., seconds: _Optional[float] = ..., device_seconds: _Optional[float] = ..., reasons: _Optional[_Mapping[str, int]] = ..., sizes: _Optional[_Mapping[int, int]] = ..., longest_wait_seconds: _Optional[float] = ..., oom_splits_total: _Optional[int] = ..., latest: _Optional[_Union[BatchStatistics, _Mapping]] = ...) -> None: ...

class BatchStatistics(_message.Message):
    __slots__ = ("reason", "size", "cost", "key", "waited_seconds", "seconds", "device_seconds")
    REASON_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    WAITED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    size: int
    cost: float
    key: str
    waited_seconds: float
    seconds: float
    device_seconds: float
    def __init__(self, reason: _Optional[str] = ..., size: _Optional[int] = ..., cost: _Optional[float] = ..., key: _Optional[str] = ..., waited_seconds: _Optional[float] = ..., seconds: _Optional[float] = ..., device_seconds: _Optional[float] = ...) -> None: ...
